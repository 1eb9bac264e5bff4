"""Checks the manifests of every profile with checkov: `make chart-policy`. Not a part of `make test`: see below.

Checkov brings a hundred packages that quarrel with ours, so it has an environment of its own, which takes minutes to
make. What it asks for of pods is asserted in `test_manifests.py` as well; what is skipped has its reason here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

from tests.support.chart import PROFILES, render

_VERSION: Final = "3.3.30"
_FOLDER: Final = Path(__file__).parents[2] / ".imagineo" / "tools" / f"checkov-{_VERSION}"
SKIPPED: Final = {
    "CKV_K8S_8": "the pod of `helm test` runs once and ends",
    "CKV_K8S_9": "the same",
    "CKV_K8S_11": "a CPU limit throttles, which shows as latency; requests are set, and memory is limited",
    "CKV_K8S_15": "a tag or digest is never moved, and a registry that is away must not keep a pod from starting",
    "CKV_K8S_35": "the services read the environment; certificates, which change while they run, are files",
    "CKV_K8S_40": "the evaluation servers run as the users of their own images",
    "CKV_K8S_43": "digests are values: image.controlDigest and image.workerDigest",
}


def main() -> int:
    """Check; the exit status is checkov's."""
    program = _FOLDER / "bin" / "checkov"
    if not program.exists():
        venv.create(_FOLDER, with_pip=True, clear=True)
        pip = [_FOLDER / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"checkov=={_VERSION}"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        for profile in PROFILES:
            (Path(folder) / f"{profile}.yaml").write_text(render(profile).text)
        options = [
            "--framework",
            "kubernetes",
            "--skip-download",
            "--quiet",
            "--compact",
            "--skip-check",
            ",".join(SKIPPED),
        ]
        return subprocess.run([program, "--directory", folder, *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
