"""What pods ask of their nodes: the laptop's all fit on one."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chart.conftest import rendered
from tests.support.chart import PROFILES, Manifest, pod, render

_UNITS = {"m": 0.001, "": 1.0, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def amount(quantity: object) -> float:
    """A quantity of Kubernetes as a number."""
    text = str(quantity)
    digits = text.rstrip("miMGT")
    return float(digits) * _UNITS[text[len(digits) :]]


def asked(pods: dict[str, Manifest], resource: str) -> Iterator[float]:
    """What each container asks for."""
    for spec in pods.values():
        for container in spec["containers"]:
            yield amount(container["resources"]["requests"].get(resource, 0))


def test_all_of_the_laptops_pods_fit_beside_the_clusters_own_on_four_cpus() -> None:
    """Jobs and the test's pod included: whatever waits for room, others wait for. kind's own ask for about 1 CPU."""
    pods = rendered("laptop").pods()
    assert {name.partition("/")[0] for name in pods} == {"Deployment", "StatefulSet", "Job", "Pod"}
    assert sum(asked(pods, "cpu")) <= 2.5
    assert sum(asked(pods, "memory")) <= 4 * 2**30


def test_pods_ask_for_the_disk_that_their_volumes_may_take() -> None:
    for profile in PROFILES:
        for name, spec in rendered(profile).pods().items():
            limits = [volume["emptyDir"].get("sizeLimit", 0) for volume in spec["volumes"] if "emptyDir" in volume]
            assert sum(asked({name: spec}, "ephemeral-storage")) == sum(map(amount, limits)), name
    chosen = render("production", "--set", r"workerDefaults.resources.requests.ephemeral-storage=7Gi")
    assert sum(asked({"": pod(chosen.one("Deployment", "worker-sdxl"))}, "ephemeral-storage")) == 7 * 2**30


def test_every_pod_takes_a_place_a_priority_and_the_registrys_secret() -> None:
    components = {"jobs": "Job", "evaluation": "StatefulSet", "test": "Pod"}
    values = ["image.pullSecrets={registry}"]
    for name in components:
        values += [f"{name}.nodeSelector.of={name}", f"{name}.priorityClassName=p-{name}"]
        values += [f"{name}.tolerations[0].key=t-{name}"]
    for profile in ("laptop", "production"):
        pods = render(profile, "--set", ",".join(values)).pods()
        for name, spec in pods.items():
            assert spec["imagePullSecrets"] == [{"name": "registry"}], name
            for component, kind in components.items():
                if name.startswith(f"{kind}/"):
                    assert spec["nodeSelector"] == {"of": component}, name
                    assert spec["priorityClassName"] == f"p-{component}", name
                    assert spec["tolerations"] == [{"key": f"t-{component}"}], name
