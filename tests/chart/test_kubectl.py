"""The real kubectl, on its own types of Kubernetes' objects, reads every workload and gives it back whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

from tests.support.chart import Manifest, Rendered, render
from tests.support.kubernetes_tools import kubectl

WORKLOADS = ("Deployment", "StatefulSet", "Job", "Pod")
_WITHIN_S = 60


def through_kubectl(manifests: list[Manifest]) -> list[Manifest]:
    """What kubectl makes of manifests without a cluster: its types keep what they know, and all images become `x`."""
    done = subprocess.run(
        [kubectl(), "set", "image", "--local", "--filename", "-", "*=x", "--output", "json"],
        input="\n---\n".join(map(json.dumps, manifests)),
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
        env={"HOME": "/nowhere"},
    )
    assert done.returncode == 0, done.stderr
    return list(_objects(done.stdout))


def _objects(text: str) -> Iterator[Manifest]:
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:]


def lost(given: object, read: object, path: str) -> Iterator[str]:
    """Fields that are there no more, or otherwise; what kubectl adds by itself is empty."""
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            yield from lost(value, read.get(name), f"{path}.{name}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif given != read and not path.endswith(".image"):
        yield path


def test_kubectl_keeps_every_field_of_every_workload(chart: Rendered) -> None:
    workloads = [found for found in chart.manifests if found["kind"] in WORKLOADS]
    assert list(lost(workloads, through_kubectl(workloads), "")) == []


def test_a_misspelt_field_would_be_lost() -> None:
    wrong = render("laptop").one("Deployment", "auth")
    wrong["spec"]["minReadySecond"] = 30
    assert list(lost([wrong], through_kubectl([wrong]), "")) == ["[0].spec.minReadySecond"]
