"""Environment variables are settings of the service that gets them, and addresses are names that certificates bear."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Iterator

import pytest

from tests.chart.conftest import rendered
from tests.support.chart import CHART, PROFILES, RELEASE, Manifest, Rendered, component, notes, pod, render, variables

#: Where each component's process reads its settings.
SETTINGS = {
    "gateway": ("services.gateway.settings", "GatewaySettings"),
    "auth": ("services.auth.settings", "Settings"),
    "catalog": ("services.catalog.settings", "CatalogSettings"),
    "status": ("services.status.settings", "Settings"),
    "webhooks": ("services.webhooks.settings", "Settings"),
    "worker": ("services.worker.settings", "Settings"),
}
CONTROL = ("gateway", "auth", "catalog", "status", "webhooks")


def test_every_variable_is_a_setting_of_its_service(chart: Rendered) -> None:
    for manifest in chart.of("Deployment"):
        name = component(manifest)
        module, cls = SETTINGS[name]
        fields = {field.name.upper() for field in dataclasses.fields(getattr(importlib.import_module(module), cls))}
        own = {f"IMAGINEO_{name.upper()}_{field}" for field in fields} | {f"IMAGINEO_{field}" for field in fields}
        given = {variable for variable in variables(manifest) if variable.startswith("IMAGINEO_")}
        assert given <= own, name


def test_every_setting_without_a_default_is_given(chart: Rendered) -> None:
    for manifest in chart.of("Deployment"):
        name = component(manifest)
        module, cls = SETTINGS[name]
        given = variables(manifest)
        for field in dataclasses.fields(getattr(importlib.import_module(module), cls)):
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                names = (f"IMAGINEO_{name.upper()}_{field.name.upper()}", f"IMAGINEO_{field.name.upper()}")
                assert any(each in given for each in names), names


def test_the_chart_knows_every_setting_by_name() -> None:
    """It refuses others, which no service would hear."""
    known = {
        name: sorted(field.name.upper() for field in dataclasses.fields(getattr(importlib.import_module(module), cls)))
        for name, (module, cls) in SETTINGS.items()
    }
    written = json.dumps(known, indent=2) + "\n"
    assert (CHART / "files" / "settings.json").read_text() == written, f"files/settings.json is to hold:\n{written}"


def test_the_gateway_is_told_which_origins_may_call_it() -> None:
    chart = render("laptop", "--set", "gateway.allowedOrigins={https://app.example.org,http://localhost:5173}")
    [gateway] = [found for found in chart.of("Deployment") if component(found) == "gateway"]
    told = variables(gateway)["IMAGINEO_GATEWAY_ALLOWED_ORIGINS"]
    assert told == "https://app.example.org,http://localhost:5173"


@pytest.mark.parametrize("secret_profile", PROFILES)
def test_the_notes_name_every_secret_that_is_read_with_its_keys(secret_profile: str) -> None:
    chart = rendered(secret_profile)
    made = {found["spec"]["secretName"] for found in chart.of("Certificate")}
    told = notes(secret_profile).partition("CreateContainerConfigError:")[2].lstrip().partition("\n\n")[0]
    lines = {name: keys for name, _, keys in (line.strip().partition(": ") for line in told.strip().splitlines())}
    read: dict[str, set[str]] = {}
    for spec in chart.pods().values():
        for name, keys in _secrets(spec):
            read.setdefault(name, set()).update(keys)
    assert lines.keys() == read.keys() - made
    for name, told_keys in lines.items():
        assert all(key in told_keys for key in read[name]), name


def _secrets(spec: Manifest) -> Iterator[tuple[str, set[str]]]:
    """Secrets that a pod reads, with the keys that it names."""
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            yield volume["secret"]["secretName"], {item["key"] for item in volume["secret"].get("items", [])}
    for container in spec["containers"]:
        for source in container.get("envFrom", []):
            yield source["secretRef"]["name"], set()
        for variable in container.get("env", []):
            found = variable.get("valueFrom", {}).get("secretKeyRef")
            if found:
                yield found["name"], {found["key"]}


def test_authorities_are_mounted_where_their_servers_are_spoken_to() -> None:
    values = ("--set", "nats.caSecret=ca-n,postgres.caSecret=ca-p,blobs.caSecret=ca-b")
    told = notes("production", *values)
    assert all(f"{name}: ca.crt" in told for name in ("ca-n", "ca-p", "ca-b"))
    for profile, mark in (("production", "&"), ("no-keda", "?")):
        pods = render(profile, *values).pods()
        for name, spec in pods.items():
            secrets = {item["secret"]["secretName"] for item in spec["volumes"] if "secret" in item}
            for container in spec["containers"]:
                given = {item["name"]: item.get("value", "") for item in container.get("env", [])}
                mounts = {item["mountPath"] for item in container["volumeMounts"]}
                for party, variable, value in (
                    ("nats", "IMAGINEO_NATS_URL", "IMAGINEO_NATS_AUTHORITY_FILE"),
                    ("postgres", "IMAGINEO_POSTGRES_DSN", "PGSSLROOTCERT"),
                    ("blobs", "IMAGINEO_BLOBS_URL", "IMAGINEO_BLOBS_URL"),
                ):
                    speaks = variable in given
                    assert (f"/etc/imagineo/{party}" in mounts) == (f"ca-{party[0]}" in secrets) == speaks, name
                    if speaks:
                        assert given[value].endswith(f"/etc/imagineo/{party}/ca.crt"), name
                if "IMAGINEO_POSTGRES_DSN" in given:
                    assert given["PGSSLMODE"] == "verify-full"
                if "IMAGINEO_BLOBS_URL" in given:
                    assert given["IMAGINEO_BLOBS_URL"].endswith(f"{mark}authority_file=/etc/imagineo/blobs/ca.crt")


def test_no_secret_is_written_into_a_manifest(chart: Rendered) -> None:
    secret = ("PASSWORD", "SIGNING_KEY", "SECRET", "TOKEN", "ACCESS_KEY", "DSN")
    for name, spec in chart.pods().items():
        for container in spec["containers"]:
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in secret) and "value" in variable:
                    assert "$(" in variable["value"], (name, variable["name"])


def test_peers_are_called_by_names_that_their_certificates_bear() -> None:
    chart = rendered("production")
    names = {component(found): found["spec"]["dnsNames"] for found in chart.of("Certificate")}
    assert names.keys() == {*CONTROL, "worker", "test"}
    for manifest in chart.of("Deployment"):
        for variable, value in variables(manifest).items():
            if variable.endswith("_ADDRESS"):
                host, _, port = value.removeprefix("dns:///").partition(":")
                peer = host.removeprefix(f"{RELEASE}-")
                assert host in names[peer]
                service = chart.one("Service", peer)["spec"]
                # Without an address of its own the name stands for the pods, at the port that they listen on.
                assert service["clusterIP"] == "None"
                (own,) = pod(chart.one("Deployment", peer))["containers"]
                assert {"name": "grpc", "containerPort": int(port)} in own["ports"]


def test_certificates_are_mounted_where_the_services_look() -> None:
    for profile, secret in (("production", "imagineo-auth-tls"), ("mtls-secrets", "tls-auth")):
        spec = pod(rendered(profile).one("Deployment", "auth"))
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "tls"]
        assert volume["secret"]["secretName"] == secret
    assert rendered("mtls-secrets").of("Certificate") == []


def test_settings_take_the_place_of_the_charts_own_variables() -> None:
    values = "gateway.settings.DRAIN_DELAY_S=9,workerDefaults.settings.DRAIN_S=7,auth.settings.PASSWORDS_AT_ONCE=2"
    chart = render("laptop", "--set", values)
    for name, variable, value in (
        ("gateway", "IMAGINEO_GATEWAY_DRAIN_DELAY_S", "9"),
        ("worker-default", "IMAGINEO_WORKER_DRAIN_S", "7"),
        ("auth", "IMAGINEO_AUTH_PASSWORDS_AT_ONCE", "2"),
    ):
        (container,) = pod(chart.one("Deployment", name))["containers"]
        assert [item["value"] for item in container["env"] if item["name"] == variable] == [value]


def test_a_pool_that_compiles_has_the_image_with_a_compiler_and_time_for_it() -> None:
    chart = render("production", "--set", "workerPools.sdxl.compile=default,workerPools.plain.replicas=1,image.tag=v7")
    images = {
        name: (pod(found)["containers"][0]["image"].rpartition("/")[2], variables(found).get("IMAGINEO_WORKER_COMPILE"))
        for name in ("sdxl", "plain")
        for found in [chart.one("Deployment", f"worker-{name}")]
    }
    assert images == {"sdxl": ("imagineo-worker-compile:v7", "default"), "plain": ("imagineo-worker:v7", None)}
    assert variables(chart.one("Deployment", "worker-sdxl"))["IMAGINEO_WORKER_HANG_S"] == "900"
    digest = f"sha256:{'0' * 64}"
    pinned = render("laptop", "--set", f"image.workerCompileDigest={digest},workerPools.default.compile=cuda-graphs")
    (container,) = pod(pinned.one("Deployment", "worker-default"))["containers"]
    assert container["image"] == f"imagineo-worker-compile@{digest}"


def test_no_variable_is_there_twice(chart: Rendered) -> None:
    """Applied by the server, such a manifest is refused."""
    for name, spec in chart.pods().items():
        for container in spec["containers"]:
            names = [variable["name"] for variable in container.get("env", [])]
            assert len(names) == len(set(names)), name


def test_pods_bear_the_labels_that_values_give_their_component() -> None:
    chart = render("production", "--set", "podLabels.job.who=j,podLabels.worker.who=w,podAnnotations.catalog.why=c")
    said = {
        component(found): found["spec"]["template"]["metadata"] for found in [*chart.of("Deployment"), *chart.of("Job")]
    }
    assert {name: one["labels"].get("who") for name, one in said.items() if "who" in one["labels"]} == {
        "job-migrations": "j",
        "job-queues": "j",
        "job-models": "j",
        "worker": "w",
    }
    assert {name: one["annotations"] for name, one in said.items() if "annotations" in one} == {"catalog": {"why": "c"}}
