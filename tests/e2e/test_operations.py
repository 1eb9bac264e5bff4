"""What an operator sees: health, metrics, logs, gRPC, memory; and what the ready file promises."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.platform import REPOSITORY, Platform
from tests.support.rest import Account

SERVICES = ("gateway", "auth", "catalog", "status", "webhooks", "worker")
IDLE_LIMIT_BYTES = 700_000_000


def test_the_ready_file_names_every_part_and_is_its_owners_only(platform: Platform) -> None:
    ready = platform.ready

    assert set(ready) == {
        "url", "api_key", "free_key", "dashboard", "grpc", "metrics", "nats_url", "postgres_dsn", "pids",
    }  # fmt: skip
    assert set(ready["dashboard"]) == {"email", "password"}
    assert set(ready["grpc"]) == {"auth", "catalog", "status", "webhooks"}
    assert set(ready["metrics"]) == set(SERVICES)
    assert set(ready["pids"]) == {*SERVICES, "nats", "postgres"}
    assert stat.S_IMODE(platform.ready_file.stat().st_mode) == 0o600


def test_an_operators_commands_work_after_reading_operator_env(platform: Platform) -> None:
    variables = platform.data / "operator.env"
    command = (
        f'. "{variables}" && exec "{sys.executable}" -m services.catalog add-lora /none.safetensors --base starter'
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "libs:."}

    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )

    # Past the settings, the database and the base model: what is missing is the file.
    assert "There is no LoRA file" in done.stderr, done.stderr
    assert stat.S_IMODE(variables.stat().st_mode) == 0o600


def test_the_gateway_is_alive_and_ready_with_each_dependency_named(platform: Platform) -> None:
    url = platform.ready["url"]

    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    ready = httpx.get(f"{url}/readyz", trust_env=False)

    assert ready.status_code == 200
    for dependency in ("auth", "catalog", "status", "webhooks"):
        assert dependency in ready.text


def test_the_openapi_document_names_every_documented_route(platform: Platform) -> None:
    document = httpx.get(f"{platform.ready['url']}/openapi.json", trust_env=False).json()

    assert document["openapi"].startswith("3.1")
    assert {"/v1/generate", "/v1/generations/{run_id}", "/v1/models"} <= set(document["paths"])


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_metrics_of_its_own(platform: Platform, account: Account, service: str) -> None:
    account.draw()

    text = httpx.get(platform.ready["metrics"][service], trust_env=False).text

    assert f"imagineo_{service}_" in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_alive_started_and_ready_beside_its_metrics(platform: Platform, service: str) -> None:
    url = platform.ready["metrics"][service].removesuffix("/metrics")

    for probe in ("livez", "startupz", "readyz"):
        answer = httpx.get(f"{url}/{probe}", trust_env=False)
        assert answer.status_code == 200, answer.text
    named = answer.json()["dependencies"]
    assert any(dependency["required"] for dependency in named.values())
    assert all(dependency["ok"] for dependency in named.values())


@pytest.mark.parametrize("service", ["auth", "catalog", "status", "webhooks"])
def test_each_grpc_service_answers_health_and_reflection(platform: Platform, service: str) -> None:
    with grpc.insecure_channel(platform.ready["grpc"][service]) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        names = ProtoReflectionDescriptorDatabase(channel).get_services()

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert any(name.startswith("imagineo.v1.") for name in names)


def test_logs_are_json_lines_with_request_and_run_but_no_prompt_and_no_key(
    platform: Platform, account: Account
) -> None:
    prompt = "zebrafish lighthouse quixotic"
    answer = account.post(
        "/v1/generate",
        account.body(positive_prompt=prompt, negative_prompt=prompt[::-1]),
        headers={"X-Request-Id": "req-of-this-test"},
    )
    run_id = answer.json()["run_id"]
    account.until(run_id)
    account.get("/v1/generations/nothing", params={"status": prompt})

    logs = platform.logs()

    assert answer.headers["x-request-id"] == "req-of-this-test"
    assert "req-of-this-test" in logs
    assert run_id in logs
    for secret in (prompt, prompt[::-1], account.key, platform.ready["api_key"], "quixotic"):
        assert secret not in logs
    gateway = (platform.data / "logs" / "gateway.log").read_text().splitlines()
    assert gateway
    assert all(isinstance(json.loads(line), dict) for line in gateway)


def test_an_insane_request_id_is_replaced(platform: Platform) -> None:
    answer = httpx.get(f"{platform.ready['url']}/healthz", headers={"X-Request-Id": "a b\t<script>"}, trust_env=False)

    assert answer.headers["x-request-id"] not in ("", "a b\t<script>")


def test_the_idle_platform_without_the_worker_stays_below_700_mb(platform: Platform) -> None:
    used = {
        name: sum(process.memory_full_info().pss for process in members)
        for name, members in platform.processes().items()
        if name != "worker"
    }

    print({name: round(size / 1e6) for name, size in used.items()})
    assert sum(used.values()) <= IDLE_LIMIT_BYTES, used


def test_a_picture_is_drawn_and_nobody_was_refused_anything_on_the_broker(platform: Platform, account: Account) -> None:
    account.draw()

    counted = re.compile(r'^imagineo_broker_errors_total\{kind="permissions_violation"\} (.+)$', re.MULTILINE)
    for name, url in platform.ready["metrics"].items():
        found = counted.findall(httpx.get(url, trust_env=False).text)
        assert found == ([] if name == "catalog" else ["0.0"]), name
    assert "ermissions violation" not in platform.logs()
