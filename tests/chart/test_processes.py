"""What the chart says is what runs: each rendered command, environment, file and probe, as processes of this machine.

PostgreSQL, NATS (with the rendered configuration, logins and permissions) and the S3 server are real; services speak
TLS both ways with certificates of the names that the chart asks for. The tests of this file tell one story, in order.
"""

from __future__ import annotations

import contextlib
import re
import secrets as random
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from cryptography.fernet import Fernet

from tests.support import keda
from tests.support.chart import RELEASE, Rendered, notes, render
from tests.support.deadlines import SURELY_S
from tests.support.network import arrows, connections
from tests.support.object_store import KEYS, s3_server
from tests.support.platform import eventually
from tests.support.pods import Cluster, Container
from tests.support.rest import Account
from tests.support.servers import PostgresServer

SERVICES = ("auth", "catalog", "status", "webhooks", "gateway")
START_WITHIN_S = 180.0
pytestmark = pytest.mark.timeout(900)  # bounds for a busy machine; alone it takes half a minute
Containers = dict[str, Container]


class Release:
    """The chart, installed: its servers and services run, its worker does not yet."""

    def __init__(self, chart: Rendered, cluster: Cluster) -> None:
        self.chart = chart
        self.cluster = cluster
        self.containers: Containers = {}
        self.outputs: dict[str, str] = {}

    def make(self, kind: str, name: str) -> list[Container]:
        """The containers of one pod of a workload."""
        manifest = self.chart.one(kind, name)
        spec = manifest["spec"] if kind == "Pod" else manifest["spec"]["template"]["spec"]
        return [Container(self.cluster, name, spec, container) for container in spec["containers"]]

    def start(self, kind: str, name: str) -> Container:
        """Start a pod of one container."""
        (container,) = self.make(kind, name)
        self.containers[name] = container
        with contextlib.suppress(ValueError):
            self.cluster.serve(self.chart.one("Service", name), container.ports)
        container.start()
        return container

    def run(self, kind: str, name: str) -> None:
        """Run a job's containers side by side to their end."""
        running = self.make(kind, name)
        for container in running:
            container.start()
        self.outputs[name] = "".join(container.finish(START_WITHIN_S) for container in running)

    def install(self) -> None:
        """Start everything but the worker, in an order that needs no second try."""
        self.start("StatefulSet", "nats").wait_for("readinessProbe", START_WITHIN_S)
        self.run("Job", self.job("job-migrations"))
        # A name leads somewhere only once its pod has ports: all get theirs before any starts.
        for name in SERVICES:
            (self.containers[name],) = self.make("Deployment", name)
            self.cluster.serve(self.chart.one("Service", name), self.containers[name].ports)
        for name in SERVICES:
            self.containers[name].start()
        for name in SERVICES:
            self.containers[name].wait_for("startupProbe", START_WITHIN_S)
            self.containers[name].wait_for("readinessProbe", START_WITHIN_S)
        for name in ("job-queues", "job-models"):
            self.run("Job", self.job(name))

    def job(self, prefix: str) -> str:
        """A job's name without the release's; it ends in a hash of what it does."""
        (found,) = [
            job["metadata"]["name"] for job in self.chart.of("Job") if f"{RELEASE}-{prefix}" in job["metadata"]["name"]
        ]
        return str(found).removeprefix(f"{RELEASE}-")

    def end(self) -> None:
        """Leave nothing running."""
        for container in self.containers.values():
            container.kill()


@pytest.fixture(scope="module")
def release(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    values = Path(__file__).with_name("local_cluster.yaml")
    chart = render("laptop", "--values", str(values))
    postgres.sql("CREATE DATABASE imagineo")
    with s3_server() as store:
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), chart.manifests, secrets_of(chart))
        cluster.addresses |= {"imagineo-postgres:5432": postgres.port, "s3:8333": store.port}
        installed = Release(chart, cluster)
        try:
            installed.install()
            yield installed
        finally:
            installed.end()
            postgres.sql("DROP DATABASE imagineo WITH (FORCE)")


def secrets_of(chart: Rendered) -> dict[str, dict[str, str]]:
    """The Secrets that a person makes, and those that cert-manager would."""
    authority = trustme.CA()
    made = {
        "imagineo-signing": {"signing-key": random.token_hex(24), "webhooks-keys": Fernet.generate_key().decode()},
        "imagineo-postgres": {"password": "test"},
        "imagineo-nats": {name: random.token_hex(24) for name in ("gateway", "auth", "status", "webhooks", "worker")},
        "imagineo-blobs": {f"AWS_{name.upper()}": value for name, value in KEYS.items()},
    }
    for certificate in chart.of("Certificate"):
        names = certificate["spec"]["dnsNames"]
        issued = authority.issue_cert(*names, "127.0.0.1")
        made[certificate["spec"]["secretName"]] = {
            "tls.crt": "".join(part.bytes().decode() for part in issued.cert_chain_pems),
            "tls.key": issued.private_key_pem.bytes().decode(),
            "ca.crt": authority.cert_pem.bytes().decode(),
        }
    return made


def monitoring(release: Release) -> str:
    return f"http://127.0.0.1:{release.containers['nats'].ports['monitor']}"


def scaled(release: Release) -> keda.Scaled:
    return keda.scaled(release.chart.one("ScaledObject", "worker-tiny"), monitoring(release))


def commands() -> list[str]:
    """What the notes of `helm install` run in auth's container."""
    return re.findall(r"kubectl .*exec .*deploy/imagineo-auth -- python -m services\.auth (.+)", notes("laptop"))


@pytest.fixture(scope="module")
def account(release: Release) -> Iterator[Account]:
    """A key, made by the commands of the notes."""
    auth = release.containers["auth"]
    organization, *others = commands()
    owner = auth.execute(*shlex.split(organization))["organization_id"]
    key, person = (
        auth.execute(*shlex.split(line.replace("org_…", owner)), given=f"{random.token_hex(12)}\n") for line in others
    )
    assert person["is_administrator"] is True
    port = release.containers["gateway"].ports["http"]
    with Account(f"http://127.0.0.1:{port}", key["secret"]) as found:
        yield found


def test_the_queues_that_keda_watches_are_there_and_empty(release: Release) -> None:
    found = scaled(release)
    assert found.missing == []
    assert (found.lag, found.is_active) == (0, False)


@pytest.fixture(scope="module")
def first_run(release: Release, account: Account) -> str:
    """A job while there is no worker."""
    body = {"positive_prompt": "a red mug", "model_id": account.base_model(), "width": 64, "height": 64, "steps": 4}
    return str(account.post("/v1/generate", body).json()["run_id"])


def test_the_first_job_wakes_the_pool(release: Release, first_run: str) -> None:
    found = eventually(
        lambda: scaled(release) if scaled(release).lag else None, within_s=SURELY_S, what="the lag rises"
    )
    assert (found.lag, found.is_active, found.pods) == (1, True, 1)


@pytest.fixture(scope="module")
def worker(release: Release, first_run: str) -> Container:
    started = release.start("Deployment", "worker-tiny")
    started.wait_for("startupProbe", START_WITHIN_S)
    started.wait_for("readinessProbe", START_WITHIN_S)
    return started


def test_the_worker_that_was_woken_draws_and_the_pool_may_sleep(
    release: Release, account: Account, worker: Container, first_run: str
) -> None:
    drawn = account.until(first_run)
    assert drawn["status"] == "completed", drawn
    assert drawn["image_url"].startswith("http://localhost:8000/")  # the public address of the values
    link = urlsplit(drawn["image_url"])
    assert account.get(f"{link.path}?{link.query}").content.startswith(b"\x89PNG")
    found = eventually(
        lambda: None if scaled(release).lag else scaled(release), within_s=SURELY_S, what="the lag falls"
    )
    assert not found.is_active


def test_helm_test_draws_a_picture(release: Release, worker: Container) -> None:
    release.run("Pod", "test")
    assert "was drawn through http://127.0.0.1" in release.outputs["test"]


def test_processes_connect_along_the_arrows_of_the_policies_alone(
    release: Release, account: Account, worker: Container, postgres: PostgresServer
) -> None:
    listening = {port: name for name, one in release.containers.items() for port in one.ports.values()}
    outside = {port: address.partition(":")[0] for address, port in release.cluster.addresses.items()}
    names = {**outside, **{port: name.partition("-")[0] for port, name in listening.items()}}
    allowed = arrows(release.chart)
    for name, container in release.containers.items():
        component = name.partition("-")[0]
        seen = {names.get(port, str(port)).removeprefix("imagineo-") for port in connections(container.process)}
        seen = {"blobs" if peer == "s3" else peer for peer in seen}
        assert seen <= allowed[component], name
        if component not in ("nats", "webhooks", "auth"):
            assert seen, f"{name} has connections that are seen"


def test_the_metrics_port_serves_metrics(release: Release, worker: Container) -> None:
    for name, container in release.containers.items():
        if name != "nats":
            text = httpx.get(f"http://127.0.0.1:{container.ports['metrics']}/metrics", trust_env=False).text
            assert "imagineo_" in text, name


def test_nobody_was_refused_by_nats(release: Release, worker: Container) -> None:
    """What a user may not do is told in the server's log."""
    log = release.containers["nats"].log.read_text()
    assert "Permissions Violation" not in log, [line for line in log.splitlines() if "Violation" in line]
    assert "Authorization Violation" not in log


def test_every_pod_ends_within_its_grace(release: Release, worker: Container) -> None:
    for name in ("worker-tiny", "gateway", "webhooks", "status", "catalog", "auth", "nats"):
        assert release.containers[name].stop() < 15, name
