"""Resources of others (KEDA, cert-manager, the Prometheus operator, the Gateway API) fit their definitions.

The definitions' types come generated in npm packages. Each manifest is written as a literal of its type, because a
compiler refuses in a literal what the type does not know: so a misspelt field is found, which a server would drop.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.conftest import rendered
from tests.support.chart import PROFILES, Manifest

PACKAGES = {
    "keda.sh/v1alpha1": "@kubernetes-models/keda",
    "cert-manager.io/v1": "@kubernetes-models/cert-manager",
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator",
    "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api",
}
#: The packages of the virtual environment bring node and npm along.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
#: Kept between runs.
INSTALLED = Path(__file__).parents[2] / ".imagineo" / "tools" / "custom-resources"


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the types and the compiler, installed as the lock file says."""
    source = Path(__file__).with_name("custom_resources")
    folder = INSTALLED
    lock = (source / "package-lock.json").read_text()
    if not (folder / "tsconfig.json").exists() or (folder / "package-lock.json").read_text() != lock:
        shutil.rmtree(folder, ignore_errors=True)
        draft = folder.with_name(f"custom-resources.{os.getpid()}")
        shutil.copytree(source, draft)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=draft, env={**os.environ, "PATH": PATH}, check=True, timeout=240)
        draft.rename(folder)
    work = tmp_path_factory.mktemp("types")
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(folder / name, work)
    (work / "node_modules").symlink_to(folder / "node_modules")
    return work


def problems(compiler: Path, manifests: list[Manifest]) -> str:
    """What the compiler says of them; nothing if all fit."""
    lines = []
    for number, manifest in enumerate(manifests):
        kind, version = manifest["kind"], manifest["apiVersion"]
        lines.append(f'import type {{ I{kind} as T{number} }} from "{PACKAGES[version]}/{version}/{kind}";')
        lines.append(f"export const m{number}: T{number} = {json.dumps(manifest, indent=1)};")
    (compiler / "rendered.ts").write_text("\n".join(lines))
    done = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", "--project", "."],
        cwd=compiler,
        env={"PATH": PATH},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.stdout + done.stderr


def custom() -> list[Manifest]:
    return [found for profile in PROFILES for found in rendered(profile).manifests if found["apiVersion"] in PACKAGES]


def test_each_fits_its_definition(compiler: Path) -> None:
    found = custom()
    assert {manifest["kind"] for manifest in found} == {
        "ScaledObject",
        "Certificate",
        "PodMonitor",
        "PrometheusRule",
        "HTTPRoute",
    }
    assert problems(compiler, found) == ""


def test_a_misspelt_field_would_be_found(compiler: Path) -> None:
    (scaled, *_) = [manifest for manifest in custom() if manifest["kind"] == "ScaledObject"]
    wrong = {**scaled, "spec": {**scaled["spec"], "minReplicasCount": 0}}
    assert "minReplicasCount" in problems(compiler, [wrong])
