"""The floor of a submit: one process, one Postgres commit and one JetStream publish with its acknowledgement a request.

It promises what the platform promises about the accepted body and does nothing else: no keys, no limits, no checks.
Run as `python -m tests.bench.floor PORT POSTGRES_DSN NATS_URL`.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import nats
import uvicorn
from nats.js.api import StreamConfig
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def application(dsn: str, nats_url: str) -> Starlette:
    """Build the app; its table and its stream are its own, on the servers of the platform that it is compared with."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.pool = await asyncpg.create_pool(dsn, min_size=8, max_size=8)
        await app.state.pool.execute("CREATE TABLE IF NOT EXISTS public.floor (run_id text PRIMARY KEY, body bytea)")
        connection = await nats.connect(nats_url)
        app.state.jetstream = connection.jetstream()
        await app.state.jetstream.add_stream(StreamConfig(name="FLOOR", subjects=["floor.>"], max_bytes=1 << 30))
        yield
        await app.state.jetstream.delete_stream("FLOOR")
        await app.state.pool.execute("DROP TABLE public.floor")
        await connection.close()
        await app.state.pool.close()

    async def generate(request: Request) -> Response:
        body = await request.body()
        msgspec.json.decode(body)
        run_id = uuid.uuid4().hex
        await request.app.state.pool.execute("INSERT INTO public.floor VALUES ($1, $2)", run_id, body)
        await request.app.state.jetstream.publish("floor.jobs", body, headers={"Nats-Msg-Id": run_id})
        return Response(msgspec.json.encode({"run_id": run_id, "status": "queued"}), media_type="application/json")

    return Starlette(routes=[Route("/v1/generate", generate, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    port, dsn, nats_url = sys.argv[1:]
    uvicorn.run(application(dsn, nats_url), port=int(port), loop="uvloop", http="httptools", log_level="warning")
