"""What pods ask of their nodes: the laptop's all fit on one."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chart.conftest import rendered
from tests.support.chart import Manifest

_UNITS = {"m": 0.001, "": 1.0, "Mi": 2.0**20, "Gi": 2.0**30}


def amount(quantity: object) -> float:
    """A quantity of Kubernetes as a number."""
    text = str(quantity)
    digits = text.rstrip("miMG")
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
