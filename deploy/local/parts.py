"""The processes of the platform: each one's command, environment, and how it is known to serve."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from deploy.local import nats, postgres
from deploy.local.place import Place, Secrets
from deploy.local.ports import Ports
from deploy.local.process import Child, Program

REPOSITORY: Final = Path(__file__).resolve().parents[2]
GRPC_SERVICES: Final = ("auth", "catalog", "status", "webhooks")
SERVICES: Final = (*GRPC_SERVICES, "gateway")
# Threads that spin while they wait starve the other processes of a small machine; large freed blocks go back at once.
WORKER_ENVIRONMENT: Final = {
    "OMP_WAIT_POLICY": "passive",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Parts:
    """Makes the programs of one platform from its place, ports and secrets. `environ` is what they inherit."""

    place: Place
    ports: Ports
    secrets: Secrets
    environ: Mapping[str, str]
    chosen_blobs_url: str = ""

    @property
    def blobs_url(self) -> str:
        """The address of the object store; what it asks for besides is in the usual `AWS_…` variables."""
        return self.chosen_blobs_url or self.place.blobs.as_uri()

    @property
    def postgres_dsn(self) -> str:
        """The address of the database."""
        return postgres.dsn(self.ports["postgres"], self.secrets.postgres_password)

    @property
    def nats_url(self) -> str:
        """The address of the broker, for an operator."""
        return nats.operator_url(self.ports["nats"], self.secrets.nats_token)

    @property
    def url(self) -> str:
        """The public address of the platform."""
        return f"http://{self.ports.address('gateway')}"

    def servers(self) -> list[Program]:
        """The database and the broker."""
        database = postgres.program(
            self.place.postgres, self.ports["postgres"], self.secrets.postgres_password, self.place.log("postgres")
        )
        broker = nats.program(self.place.nats, self.ports["nats"], self.secrets.nats_token, self.place.log("nats"))
        return [self._with_released_port(database), self._with_released_port(broker)]

    def services(self) -> list[Program]:
        """The gRPC services; each starts whatever of the others is there."""
        return [self._serve(name, name) for name in GRPC_SERVICES]

    def gateway(self) -> Program:
        """The public side."""
        return self._serve("gateway", "gateway", stop_grace_s=8.0, IMAGINEO_GATEWAY_DRAIN_S="5")

    def workers(self, count: int) -> list[Program]:
        """The programs that draw, with every base model there is. A worker's name stays over restarts."""
        return [
            self._serve(
                name,
                "worker",
                stop_grace_s=10.0,
                IMAGINEO_WORKER_DRAIN_S="5",  # whoever presses Ctrl-C waits; the run is handed back and goes on later
                IMAGINEO_WORKER_WORKER_ID=f"local-{name}",
                IMAGINEO_WORKER_CACHE_DIR=str(self.place.cache(name)),
                **{key: value for key, value in WORKER_ENVIRONMENT.items() if key not in self.environ},
            )
            for name in worker_names(count)
        ]

    def operator_environment(self) -> str:
        """Shell lines that let `python -m services.…` work on this platform."""
        settings = {
            "IMAGINEO_POSTGRES_DSN": self.postgres_dsn,
            "IMAGINEO_NATS_URL": self.nats_url,
            "IMAGINEO_BLOBS_URL": self.blobs_url,
            **{f"IMAGINEO_{name.upper()}_ADDRESS": self.ports.address(name) for name in GRPC_SERVICES},
        }
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())

    def command(self, name: str, service: str, *arguments: str) -> Program:
        """One run of a service's command line, such as `migrate`."""
        return Program(
            name=name,
            command=(sys.executable, "-m", f"services.{service}", *arguments),
            log=self.place.log(name),
            environment=self._environment(service),
        )

    def _serve(self, name: str, service: str, *, stop_grace_s: float = 8.0, **settings: str) -> Program:
        prefix = f"IMAGINEO_{service.upper()}_"
        ports_file = self.place.ports_file(name)
        listen = {} if service == "worker" else {f"{prefix}LISTEN": self.ports.address(name)}
        return Program(
            name=name,
            command=(sys.executable, "-m", f"services.{service}"),
            log=self.place.log(name),
            environment={
                **self._environment(service),
                **listen,
                f"{prefix}METRICS_LISTEN": self.ports.address(f"{name}.metrics"),
                f"{prefix}PORTS_FILE": str(ports_file),
                **settings,
            },
            ready=partial(_has_written, ports_file),
            before_start=partial(self._before_service, name, ports_file),
            stop_grace_s=stop_grace_s,
        )

    def _environment(self, service: str) -> dict[str, str]:
        prefix = f"IMAGINEO_{service.upper()}_"
        return {
            **self.environ,
            "PYTHONPATH": f"{REPOSITORY / 'libs'}:{REPOSITORY}",
            f"{prefix}POSTGRES_DSN": self.postgres_dsn,
            f"{prefix}NATS_URL": nats.url(self.ports["nats"]),
            f"{prefix}NATS_USER": service,
            f"{prefix}NATS_PASSWORD": nats.password(service, self.secrets.nats_token),
            f"{prefix}BLOBS_URL": self.blobs_url,
            **{f"{prefix}{peer.upper()}_ADDRESS": self.ports.address(peer) for peer in GRPC_SERVICES},
            **{
                f"IMAGINEO_{signer}_{name}": value
                for signer in ("GATEWAY", "WEBHOOKS")
                for name, value in (("PUBLIC_URL", self.url), ("SIGNING_KEY", self.secrets.signing_key))
            },
            "IMAGINEO_AUTH_PUBLIC_URL": self.url,
            "IMAGINEO_AUTH_MAIL_URL": self.environ.get("IMAGINEO_AUTH_MAIL_URL", self.place.mail.as_uri()),
            "IMAGINEO_WEBHOOKS_SECRET_KEYS": self.secrets.webhooks_key,
            "IMAGINEO_WEBHOOKS_ALLOW_LOOPBACK": "true",  # whoever tries webhooks here listens here
        }

    def _before_service(self, name: str, ports_file: Path) -> None:
        ports_file.unlink(missing_ok=True)
        self.ports.release(name)

    def _with_released_port(self, program: Program) -> Program:
        def before_start() -> None:
            program.before_start()
            self.ports.release(program.name)

        return Program(**{**vars(program), "before_start": before_start})


def worker_names(count: int) -> list[str]:
    """Name the workers: `worker`, `worker-2`, and so on."""
    return ["worker" if number == 1 else f"worker-{number}" for number in range(1, count + 1)]


def reserve(ports: Ports, *, http_port: int, workers: int) -> None:
    """Choose all ports of one platform.

    Raises:
        PortInUseError: if `http_port` is not free.
    """
    ports.reserve("gateway", http_port)
    for name in ("postgres", "nats", *GRPC_SERVICES):
        ports.reserve(name)
    for name in (*SERVICES, *worker_names(workers)):
        ports.reserve(f"{name}.metrics")


async def _has_written(ports_file: Path, _child: Child) -> bool:
    return ports_file.exists()
