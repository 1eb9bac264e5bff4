"""The chart as Helm renders it: manifests as data, and what Helm says where values are wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.kubernetes_tools import helm

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "imagineo"
PROFILES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
RELEASE = "imagineo"
NAMESPACE = "images"
_WITHIN_S = 60
Manifest = dict[str, Any]


class Rendered:
    """The manifests of one rendering."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.manifests: list[Manifest] = [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]

    def of(self, kind: str) -> list[Manifest]:
        """All of one kind."""
        return [found for found in self.manifests if found["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        """The one of this kind called `imagineo-<name>`."""
        (found,) = [found for found in self.of(kind) if found["metadata"]["name"] == f"{RELEASE}-{name}"]
        return found

    def pods(self) -> dict[str, Manifest]:
        """The spec of every pod there will be, by `Kind/name` of what makes it."""
        specs = {}
        for found in self.manifests:
            name = f"{found['kind']}/{found['metadata']['name']}"
            if found["kind"] in ("Deployment", "StatefulSet", "Job"):
                specs[name] = found["spec"]["template"]["spec"]
            elif found["kind"] == "Pod":
                specs[name] = found["spec"]
        return specs


def render(profile: str, *options: str) -> Rendered:
    """Render a profile of `ci/`, with further options of `helm template`."""
    done = _template(profile, *options)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout)


def notes(profile: str, *options: str) -> str:
    """What `helm install` prints in the end."""
    values = str(CHART / "ci" / f"{profile}.yaml")
    given = ["--namespace", NAMESPACE, "--values", values, "--dry-run=client", *options]
    done = _helm("install", RELEASE, str(CHART), *given)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def render_values(*files: Path) -> Rendered:
    """Render with values files alone, later ones over earlier."""
    options = [part for path in files for part in ("--values", str(path))]
    done = _helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *options)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout)


def refusal(profile: str, *options: str) -> str:
    """What Helm says where it must refuse."""
    done = _template(profile, *options)
    assert done.returncode != 0, "Helm took it"
    return done.stderr


def lint(profile: str) -> subprocess.CompletedProcess[str]:
    """Let Helm look for what it finds wrong by itself."""
    return _helm("lint", str(CHART), "--strict", "--values", str(CHART / "ci" / f"{profile}.yaml"))


def _template(profile: str, *options: str) -> subprocess.CompletedProcess[str]:
    values = str(CHART / "ci" / f"{profile}.yaml")
    return _helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", values, *options)


def _helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm(), *arguments], capture_output=True, text=True, timeout=_WITHIN_S, check=False, env={"HOME": "/nowhere"}
    )


def component(manifest: Manifest) -> str:
    """Which part of the platform a resource belongs to."""
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def pod(manifest: Manifest) -> Manifest:
    """The spec of the pods that a workload makes."""
    found: Manifest = manifest["spec"]["template"]["spec"]
    return found


def variables(manifest: Manifest) -> dict[str, Any]:
    """The environment of a workload's one container: values by name, None for those out of Secrets."""
    (container,) = pod(manifest)["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}
