"""Brings the platform up in order, keeps it, and brings it down: the story that `make run` tells."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.local import accounts, demo_user, first_image, ready_file
from deploy.local.accounts import Account
from deploy.local.demo_user import DemoUser
from deploy.local.parts import GRPC_SERVICES, Parts, reserve
from deploy.local.place import Place, write_private_text
from deploy.local.ports import Ports
from deploy.local.supervisor import StartError, Supervisor

_GATEWAY_READY_WITHIN_S = 120.0


@dataclass(frozen=True)
class Options:
    """What the command line decides."""

    port: int
    data: Path
    weights: Path
    workers: int
    first_image: bool
    ready_file: Path | None
    blobs_url: str = ""
    """The object store; empty: a folder in `data`."""


class Platform:
    """One platform in one data folder. `say` tells a person what happens."""

    def __init__(self, options: Options, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._place = Place(options.data.resolve())
        self._environ = environ
        self._accounts: dict[str, Account] = {}
        self._user: DemoUser | None = None
        self._supervisor = Supervisor(say, self._write_ready_file)

    async def run(self) -> None:
        """Start everything, serve until SIGTERM or SIGINT, end everything. A second signal ends it at once.

        Raises:
            StartError, FirstImageError, PortInUseError, FolderError: if it does not come up.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, stop)
        with self._place.claimed():
            self._parts = self._plan()
            self._forget_ready_file()
            try:
                await _unless(stop, self._bring_up())
                await stop.wait()
            finally:
                self._say("Stopping …")
                self._forget_ready_file()
                await self._supervisor.stop()
                self._say("Stopped; the data stay in " + str(self._place.folder))

    def _plan(self) -> Parts:
        ports = Ports()
        reserve(ports, http_port=self._options.port, workers=self._options.workers)
        return Parts(self._place, ports, self._place.secrets(), self._environ, self._options.blobs_url)

    async def _bring_up(self) -> None:
        self._say(f"Starting PostgreSQL and NATS in {self._place.folder} …")
        await self._supervisor.start(self._parts.servers())
        self._say("Bringing the databases up to date …")
        commands = [self._parts.command(f"migrate-{name}", name, "migrate") for name in GRPC_SERVICES]
        await asyncio.gather(*(self._supervisor.run(command) for command in commands))
        self._say("Starting auth, catalog, status, webhooks, gateway and the worker …")
        await asyncio.gather(self._start_services(), self._seed_and_start_workers())
        self._accounts = await accounts.ensure(self._parts.ports.address("auth"), self._place.folder / "accounts.json")
        self._user = await demo_user.ensure(
            self._parts.ports.address("auth"),
            self._accounts["premium"].organization_id,
            self._place.folder / "dashboard.json",
        )
        await _gateway_ready(self._parts.url)
        write_private_text(self._place.operator_environment, self._parts.operator_environment())
        model_id = await first_image.any_model(self._parts.url, self._accounts["premium"].api_key)
        if self._options.first_image and not self._place.first_image.exists():
            self._say("Drawing the first picture …")
            key = self._accounts["premium"].api_key
            await first_image.draw(self._parts.url, key, model_id, self._place.first_image)
        self._write_ready_file()
        self._greet(model_id)

    async def _start_services(self) -> None:
        await self._supervisor.start(self._parts.services())
        await self._supervisor.start([self._parts.gateway()])

    async def _seed_and_start_workers(self) -> None:
        seed = self._parts.command("seed", "catalog", "seed", str(self._options.weights))
        await self._supervisor.run(seed)
        await self._supervisor.start(self._parts.workers(self._options.workers))

    def _write_ready_file(self) -> None:
        if self._options.ready_file is None or not self._accounts or self._user is None:
            return
        pids = self._supervisor.pids()
        content = ready_file.describe(self._parts, self._accounts, self._user, self._options.workers, pids)
        ready_file.write(self._options.ready_file, content)

    def _forget_ready_file(self) -> None:
        self._accounts = {}
        if self._options.ready_file is not None:
            self._options.ready_file.unlink(missing_ok=True)

    def _on_signal(self, stop: asyncio.Event) -> None:
        if stop.is_set():
            self._supervisor.kill()
        stop.set()

    def _greet(self, model_id: str) -> None:
        url, key = self._parts.url, self._accounts["premium"].api_key
        picture = f"\n  First picture  {self._place.first_image}" if self._place.first_image.exists() else ""
        log_in = f"\n  Log in with    {self._user.email}  {self._user.password}" if self._user else ""
        self._say(
            f"\nReady. Ctrl-C stops it.\n\n  Dashboard      {url}/login{log_in}\n  Documentation  {url}/docs\n"
            f"  URL            {url}\n"
            f"  API key        {key}{picture}\n"
            f"  Logs           {self._place.folder / 'logs'}\n\nDraw a picture:\n\n"
            f"  curl {url}/v1/generate -H 'X-API-Key: {key}' -H 'Content-Type: application/json' \\\n"
            f'    -d \'{{"positive_prompt": "{first_image.PROMPT}", "model_id": "{model_id}"}}\'\n\n'
            f"and read it, with the run_id of the answer:\n\n"
            f"  curl {url}/v1/generations/RUN_ID -H 'X-API-Key: {key}'\n\n"
            f"or by the command line, which then knows the key:\n\n"
            f"  echo {key} | .venv/bin/imagineo login --url {url}\n"
            f'  .venv/bin/imagineo generate "{first_image.PROMPT}" -o apple.png\n'
        )


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, or leave off where a stop is asked for before it is done."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _gateway_ready(url: str) -> None:
    """Wait until the gateway says that all it depends on is there."""
    answer: httpx.Response | None = None
    try:
        async with asyncio.timeout(_GATEWAY_READY_WITHIN_S), httpx.AsyncClient(base_url=url, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get("/readyz")
                    if answer.status_code == httpx.codes.OK:
                        return
                await asyncio.sleep(0.05)
    except TimeoutError as late:
        raise StartError(f"the gateway is not ready: {answer.text if answer else 'no answer'}") from late
