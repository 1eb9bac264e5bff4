"""Facts of what is rendered that somebody relies on, each as data."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import pytest
from imagineo.broker import subjects
from imagineo.v1 import job_pb2

from services.worker.drain import HAND_BACK_S
from tests.chart.conftest import rendered
from tests.support.chart import PROFILES, RELEASE, Manifest, Rendered, render
from tests.support.network import arrows, entrances

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


def component(manifest: Manifest) -> str:
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def pod(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["template"]["spec"]
    return found


def variables(manifest: Manifest) -> dict[str, Any]:
    (container,) = pod(manifest)["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}


# Settings


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


def test_no_secret_is_written_into_a_manifest(chart: Rendered) -> None:
    secret = ("PASSWORD", "SIGNING_KEY", "SECRET", "TOKEN", "ACCESS_KEY", "DSN")
    for name, spec in chart.pods().items():
        for container in spec["containers"]:
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in secret) and "value" in variable:
                    assert "$(" in variable["value"], (name, variable["name"])


# Addresses


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


# Network

DESIGN = {
    "gateway": {"auth", "catalog", "status", "webhooks", "nats", "blobs"},
    "auth": {"status", "postgres", "nats"},
    "catalog": {"postgres", "blobs"},
    "status": {"postgres", "nats", "blobs"},
    "webhooks": {"postgres", "nats", "internet"},
    "worker": {"catalog", "status", "nats", "blobs"},
    "job-migrations": {"postgres"},
    "job-queues": {"nats"},
    "job-models": {"postgres", "blobs"},
    "test": {"gateway", "auth"},
}


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "no-keda"])
def test_the_policies_are_the_arrows_of_the_design(profile: str) -> None:
    chart = rendered(profile)
    found = {name: targets - {"names", "traces"} for name, targets in arrows(chart).items()}
    wanted = {name: set(targets) for name, targets in DESIGN.items()}
    if profile == "production":
        wanted["job-models"] |= {"internet"}  # the hub
        wanted["auth"] |= {"mail"}
    if profile == "laptop":
        for name in wanted:
            wanted[name] -= {"blobs"}  # a folder
    assert {name: targets for name, targets in found.items() if name not in ("nats", "postgres")} == wanted


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "no-keda"])
def test_whoever_may_call_is_let_in_and_nobody_else(profile: str) -> None:
    chart = rendered(profile)
    inside = set(entrances(chart)) | {"worker"}
    callers = {
        name: {caller for caller, targets in arrows(chart).items() if name in targets} for name in inside - {"gateway"}
    }
    found = {name: peers - {"anybody"} for name, peers in entrances(chart).items() if name != "gateway"}
    assert {name: peers for name, peers in found.items() if peers} == {
        name: peers for name, peers in callers.items() if peers
    }
    assert entrances(chart)["gateway"] - {"test"} in ({"anybody"}, {""})  # clients, or the peers that values name


def test_every_pod_is_closed_but_for_its_arrows(chart: Rendered, profile: str) -> None:
    if profile == "no-keda":
        assert chart.of("NetworkPolicy") == []
        return
    closed = {component(found) for found in chart.of("NetworkPolicy")}
    workloads = [*chart.of("Deployment"), *chart.of("StatefulSet"), *chart.of("Job"), *chart.of("Pod")]
    assert {component(found) for found in workloads} <= closed
    for policy in chart.of("NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


# Ends


def test_a_worker_has_its_longest_run_and_the_hand_back_within_its_grace() -> None:
    for manifest in rendered("gpu-pools").of("Deployment"):
        if component(manifest) == "worker":
            drain_s = float(variables(manifest)["IMAGINEO_WORKER_DRAIN_S"])
            assert pod(manifest)["terminationGracePeriodSeconds"] >= drain_s + HAND_BACK_S + 1
    graces = {
        manifest["metadata"]["labels"]["imagineo/pool"]: pod(manifest)["terminationGracePeriodSeconds"]
        for manifest in rendered("gpu-pools").of("Deployment")
        if component(manifest) == "worker"
    }
    assert graces == {"sd15": 135, "flux": 315, "spot": 35}


def test_the_gateway_has_its_delay_and_its_requests_within_its_grace() -> None:
    manifest = rendered("production").one("Deployment", "gateway")
    given = variables(manifest)
    delay_s, drain_s = float(given["IMAGINEO_GATEWAY_DRAIN_DELAY_S"]), float(given["IMAGINEO_GATEWAY_DRAIN_S"])
    assert delay_s >= 5
    assert pod(manifest)["terminationGracePeriodSeconds"] >= delay_s + drain_s + 5


def test_services_answer_on_while_their_callers_learn_of_their_end(chart: Rendered) -> None:
    for name in ("auth", "catalog", "status", "webhooks"):
        (container,) = pod(chart.one("Deployment", name))["containers"]
        assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}


# Scale


def test_a_pool_is_scaled_by_the_sum_of_all_queues_that_its_workers_pull_from() -> None:
    manifest = rendered("gpu-pools").one("ScaledObject", "worker-flux")
    lanes = (job_pb2.LANE_PREMIUM, job_pb2.LANE_BASIC, job_pb2.LANE_FREE)
    queues = {subjects.queue(slug, lane) for slug in ("flux-dev", "sd-3-5") for lane in lanes}
    triggers = manifest["spec"]["triggers"]
    assert {trigger["metadata"]["consumer"] for trigger in triggers} == queues
    assert {trigger["metadata"]["stream"] for trigger in triggers} == {"JOBS"}
    modifiers = manifest["spec"]["advanced"]["scalingModifiers"]
    assert sorted(modifiers["formula"].split(" + ")) == sorted(trigger["name"] for trigger in triggers)
    assert modifiers["target"] == "4"
    assert (manifest["spec"]["minReplicaCount"], manifest["spec"]["maxReplicaCount"]) == (0, 8)


def test_the_queues_job_makes_every_queue_that_keda_watches() -> None:
    chart = rendered("gpu-pools")
    (job,) = [found for found in chart.of("Job") if component(found) == "job-queues"]
    (container,) = pod(job)["containers"]
    assert sorted(container["command"][4:]) == ["flux-dev", "sd-1-5", "sd-3-5"]


def test_autoscaled_deployments_name_no_replicas() -> None:
    for profile in PROFILES:
        chart = rendered(profile)
        targets = {
            found["spec"]["scaleTargetRef"]["name"]
            for found in [*chart.of("HorizontalPodAutoscaler"), *chart.of("ScaledObject")]
        }
        for manifest in chart.of("Deployment"):
            assert ("replicas" in manifest["spec"]) != (manifest["metadata"]["name"] in targets), profile


def test_without_keda_pools_have_an_autoscaler_or_a_size() -> None:
    chart = rendered("no-keda")
    assert chart.of("ScaledObject") == []
    assert chart.one("HorizontalPodAutoscaler", "worker-cpu")["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    assert chart.one("HorizontalPodAutoscaler", "worker-gpu")["spec"]["metrics"][0]["type"] == "Pods"
    assert chart.one("Deployment", "worker-fixed")["spec"]["replicas"] == 3


def test_every_deployment_may_lose_one_pod_at_a_time(chart: Rendered) -> None:
    budgets = {found["metadata"]["name"]: found["spec"]["maxUnavailable"] for found in chart.of("PodDisruptionBudget")}
    assert budgets == {found["metadata"]["name"]: 1 for found in chart.of("Deployment")}


def test_pods_are_spread_over_zones_and_nodes(chart: Rendered) -> None:
    for manifest in chart.of("Deployment"):
        keys = [spread["topologyKey"] for spread in pod(manifest)["topologySpreadConstraints"]]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_a_gpu_pool_asks_for_its_gpu_and_a_cpu_pool_for_none() -> None:
    (gpu,) = pod(rendered("gpu-pools").one("Deployment", "worker-sd15"))["containers"]
    assert gpu["resources"]["limits"]["nvidia.com/mig-3g.40gb"] == "1"
    assert variables(rendered("gpu-pools").one("Deployment", "worker-sd15"))["IMAGINEO_WORKER_DEVICE"] == "cuda"
    (cpu,) = pod(rendered("laptop").one("Deployment", "worker-default"))["containers"]
    assert cpu["resources"]["limits"].keys() == {"memory"}
    assert variables(rendered("laptop").one("Deployment", "worker-default"))["IMAGINEO_WORKER_DEVICE"] == "cpu"


# Install and upgrade


def test_migrations_come_first_where_the_database_is_there_before() -> None:
    (job,) = [found for found in rendered("production").of("Job") if component(found) == "job-migrations"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    commands = [container["command"][2:] for container in pod(job)["containers"]]
    assert commands == [[f"services.{name}", "migrate"] for name in ("auth", "catalog", "status", "webhooks")]
    for kind in ("ServiceAccount", "NetworkPolicy"):
        before = rendered("production").one(kind, "job-migrations")["metadata"]["annotations"]
        assert int(before["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])


def test_migrations_run_beside_the_pods_where_the_database_is_the_charts_own() -> None:
    (job,) = [found for found in rendered("laptop").of("Job") if component(found) == "job-migrations"]
    assert "annotations" not in job["metadata"]


def test_a_job_runs_again_when_its_work_or_its_image_changes() -> None:
    def names(*options: str) -> set[str]:
        return {found["metadata"]["name"] for found in render("laptop", *options).of("Job")}

    before, newer = names(), names("--set", "image.tag=0.2.0")
    assert not before & newer
    assert names("--set", "gateway.replicas=3") == before


def test_selectors_and_services_do_not_change_between_versions() -> None:
    """A Deployment's selector may not change, and a Service's name is in everybody's values."""
    older, newer = rendered("production"), render("production", "--set", "image.tag=9.9.9")
    for kind in ("Deployment", "StatefulSet"):
        selectors = [
            {found["metadata"]["name"]: found["spec"]["selector"] for found in chart.of(kind)}
            for chart in (older, newer)
        ]
        assert selectors[0] == selectors[1]
        for selector in selectors[0].values():
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & selector["matchLabels"].keys()
    assert {found["metadata"]["name"] for found in older.of("Service")} == {f"{RELEASE}-{name}" for name in CONTROL}


# The way in


def test_rest_comes_in_by_an_ingress_or_by_a_route() -> None:
    ingress = rendered("production").one("Ingress", "gateway")["spec"]
    assert ingress["tls"] == [{"hosts": ["images.example.org"], "secretName": "images-example-org-tls"}]
    route = rendered("mtls-secrets").one("HTTPRoute", "gateway")["spec"]
    assert route["rules"][0]["backendRefs"] == [{"name": "imagineo-gateway", "port": 80}]
    assert rendered("production").of("HTTPRoute") == rendered("mtls-secrets").of("Ingress") == []
