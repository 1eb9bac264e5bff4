"""Wrong values are refused before anything is installed, in a sentence that says what to write instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.helm import values_table
from tests.chart.conftest import rendered
from tests.support.chart import CHART, refusal, render_values


def test_a_misspelt_value_is_named() -> None:
    said = refusal("laptop", "--set", "gatway.replicas=2")
    assert "additional properties 'gatway' not allowed" in said
    said = refusal("laptop", "--set", "workerPools.gpu.autoscalling.min=1")
    assert "'/workerPools/gpu': additional properties 'autoscalling' not allowed" in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("gateway.replicas=0", "'/gateway/replicas': minimum: got 0, want 1"),
        ("gateway.allowedOrigins={app.example.org}", "'/gateway/allowedOrigins/0': 'app.example.org' does not match"),
        ("logLevel=LOUD", "'/logLevel'"),
        ("publicUrl=images.example.org", "'/publicUrl'"),
        ("nats.servers=nats://nats:4222", "'/nats/servers'"),
        ("blobs.url=https://bucket", "'/blobs/url'"),
        ("priorityClasses.imagineo-control.value=2000000000", "'/priorityClasses/imagineo-control/value'"),
        ("networkPolicy.webhookPorts={0}", "'/networkPolicy/webhookPorts/0'"),
        ("tracing.ratio=2", "'/tracing/ratio': maximum: got 2, want 1"),
        ("workerPools.Big.replicas=1", "'Big'"),
        ("workerPools.gpu.autoscaling.kind=magic", "'/workerPools/gpu/autoscaling/kind'"),
        ("workerPools.gpu.compile=true", "'/workerPools/gpu/compile'"),
        ("workerPools.gpu.gpu.count=2", "'/workerPools/gpu/gpu/count'"),
        ("auth.settings.retentionDays=3", "'retentionDays'"),
    ],
)
def test_a_value_out_of_its_range_is_named(value: str, said: str) -> None:
    assert said in refusal("laptop", "--set", value)


@pytest.mark.parametrize(
    ("profile", "value", "said"),
    [
        ("laptop", "publicUrl=", "Set it to how clients reach the platform"),
        ("laptop", "nats.evaluation.enabled=false", "There is no NATS. Set nats.servers"),
        ("laptop", "nats.servers=nats:4222", "both set. Keep one of them."),
        ("laptop", "blobs.evaluation.enabled=false", "There is no object store. Set blobs.url"),
        ("laptop", "blobs.url=s3://bucket", "blobs.url and blobs.evaluation.enabled are both set"),
        ("laptop", "nats.caSecret=ca", "The evaluation NATS speaks no TLS."),
        ("laptop", "signUp.verifiedMail=true", "Set mail.existingSecret"),
        ("laptop", "workerPools.a.autoscaling.kind=keda", "Set workerPools.a.baseModels"),
        ("laptop", "workerPools.a.autoscaling.kind=hpa", "workerPools.a.autoscaling.min is 0"),
        ("laptop", "workerPools.a.autoscaling.min=9", "workerPools.a.autoscaling.max is less than min"),
        ("gpu-pools", "nats.monitoringEndpoint=", "Set nats.monitoringEndpoint, such as nats-headless.nats.svc:8222"),
        ("laptop", "mtls.enabled=true", "Set mtls.certManager.issuerRef.name"),
        ("mtls-secrets", "mtls.existingSecrets.auth=", "mtls.existingSecrets.auth is empty."),
        ("laptop", "ingress.enabled=true", "Set ingress.host."),
        ("laptop", "workerPools.a.settings.COMPILE=default", "Set workerPools.a.compile to default or cuda-graphs"),
        ("production", "webhooks.settings.PORTS=443", "Set networkPolicy.webhookPorts"),
        ("production", "gateway.settings.WEBHOOKS_PORTS=443", "Set networkPolicy.webhookPorts"),
        ("laptop", "gatewayApi.enabled=true", "Set gatewayApi.parentRefs"),
    ],
)
def test_values_that_do_not_go_together_are_told_with_the_fix(profile: str, value: str, said: str) -> None:
    assert said in refusal(profile, "--set", value)


def test_all_mistakes_are_told_at_once() -> None:
    said = refusal("laptop", "--set", "publicUrl=,ingress.enabled=true")
    assert "publicUrl is empty" in said
    assert "ingress.enabled needs a host name" in said


def test_the_schema_is_strict_everywhere() -> None:
    """Only maps whose keys are the user's own, and fragments of Kubernetes' own types, are open."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    open_objects = {path for path, found in _objects(schema, "") if found.get("additionalProperties") is not False}
    assert {path for path in open_objects if "additionalProperties" not in _at(schema, path)} == {
        "/properties/global",
        "/$defs/resources/properties/claims/items",
        "/$defs/peer/properties/podSelector",
        "/$defs/peer/properties/namespaceSelector",
        "/$defs/pool/properties/autoscaling/properties/hpaMetrics/items",
    }


def test_the_schema_knows_each_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert list(_differences(values, schema, schema, "")) == ["/global"]  # Helm itself sets it


def test_named_pools_replace_the_default_one() -> None:
    pools = {found["metadata"]["labels"]["imagineo/pool"] for found in _workers("gpu-pools")}
    assert pools == {"sd15", "flux", "spot"}
    assert {found["metadata"]["labels"]["imagineo/pool"] for found in _workers("laptop")} == {"default"}


def _workers(profile: str) -> list[dict[str, Any]]:
    found = rendered(profile).of("Deployment")
    return [one for one in found if one["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"]


def _resolve(found: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = found.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else found


def _at(schema: dict[str, Any], path: str) -> Any:
    found: Any = schema
    for part in path.split("/")[1:]:
        found = found[int(part) if isinstance(found, list) else part]
    return found


def _objects(found: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(found, dict):
        return []
    own = [(path, found)] if found.get("type") == "object" else []
    return own + [each for key, inner in found.items() for each in _objects(inner, f"{path}/{key}")]


def _differences(value: Any, found: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
    """Keys that only one of them knows; a map that values leave empty is the user's to fill."""
    properties = _resolve(found, schema).get("properties")
    if not properties or not value or not isinstance(value, dict) or path.endswith("/resources"):
        return
    for name in sorted(properties.keys() | value.keys()):
        if name in properties and name in value:
            yield from _differences(value[name], properties[name], schema, f"{path}/{name}")
        else:
            yield f"{path}/{name}"


def test_every_value_is_described_in_the_readme() -> None:
    described = {path for path, _, _ in values_table.rows((CHART / "values.yaml").read_text())}
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [path for path in _leaves(values, "") if not _is_described(path, described)] == []
    assert values_table.main(["--check"]) == 0, "run: python -m deploy.helm.values_table"


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}".lstrip("."))
    else:
        yield path


def _is_described(path: str, described: set[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:count]) in described for count in range(1, len(parts) + 1))


def test_the_values_that_the_readme_shows_render(tmp_path: Path) -> None:
    blocks = (CHART / "README.md").read_text().split("```yaml\n")[1:]
    assert len(blocks) == 2
    production, pools = tmp_path / "production.yaml", tmp_path / "pools.yaml"
    for path, block in zip((production, pools), blocks, strict=True):
        path.write_text(block.partition("```")[0])
    assert len(production.read_text().splitlines()) <= 12
    assert render_values(production).one("ScaledObject", "worker-sdxl")
    scaled = {found["metadata"]["name"] for found in render_values(production, pools).of("ScaledObject")}
    assert scaled == {"imagineo-worker-sdxl", "imagineo-worker-sd15", "imagineo-worker-flux"}
