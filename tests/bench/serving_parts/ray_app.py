"""`python -m tests.bench.serving_parts.ray_app PORT`: the stock pipeline behind Ray Serve."""

import signal
import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from tests.bench.serving_parts.stock import BATCH, WAIT_S, Stock

TRIES = 3


@serve.deployment(num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Draw:
    """Draws batches."""

    def __init__(self) -> None:
        self.stock = Stock()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_S)
    async def draw(self, requests: list[dict[str, Any]]) -> list[dict[str, str]]:
        return [{"png": picture} for picture in self.stock.draw(requests)]

    async def __call__(self, request: Request) -> dict[str, str]:
        return await self.draw(await request.json())


if __name__ == "__main__":
    for left in reversed(range(TRIES)):
        try:
            ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
            break
        except Exception:  # on two busy cores its parts do not always start within its own thirty seconds
            if not left:
                raise
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1]), "request_timeout_s": 600})
    serve.run(Draw.bind(), route_prefix="/draw")
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
