"""Checks the manifests of every profile by checkov's policies: `make chart-policy`, and a test of this folder.

Checkov brings a hundred packages that quarrel with ours, so it has an environment of its own, made once by uv. What it
asks for of pods is asserted in `test_manifests.py` as well; what is skipped has its reason here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.chart.conftest import rendered
from tests.support.chart import PROFILES

_VERSION: Final = "3.3.30"
_PACKAGE: Final = f"checkov=={_VERSION}"
_TOOLS: Final = Path(__file__).parents[2] / ".imagineo" / "tools"
_FOLDER: Final = _TOOLS / f"checkov-{_VERSION}"
_INSTALL_WITHIN_S: Final = 400
_CHECK_WITHIN_S: Final = 200
SKIPPED: Final = {
    "CKV_K8S_8": "the pod of `helm test` runs once and ends",
    "CKV_K8S_9": "the same",
    "CKV_K8S_11": "a CPU limit throttles, which shows as latency; requests are set, and memory is limited",
    "CKV_K8S_15": "a tag or digest is never moved, and a registry that is away must not keep a pod from starting",
    "CKV_K8S_35": "the services read the environment; certificates, which change while they run, are files",
    "CKV_K8S_40": "the evaluation servers run as the users of their own images",
    "CKV_K8S_43": "digests are values: image.controlDigest and image.workerDigest",
}


def checked() -> subprocess.CompletedProcess[str]:
    """Check every profile; the exit status is checkov's."""
    with tempfile.TemporaryDirectory() as folder:
        for profile in PROFILES:
            (Path(folder) / f"{profile}.yaml").write_text(rendered(profile).text)
        places = ["--directory", folder, "--framework", "kubernetes", "--skip-download"]
        options = ["--quiet", "--compact", "--skip-check", ",".join(SKIPPED)]
        return subprocess.run(
            [_python(), "-m", "checkov.main", *places, *options],
            check=False,
            capture_output=True,
            text=True,
            timeout=_CHECK_WITHIN_S,
        )


def _python() -> Path:
    """The interpreter that has checkov, fetched where it is not there."""
    if not _FOLDER.is_dir():
        draft = _TOOLS / f"checkov.{os.getpid()}"
        uv = Path(sys.executable).parent / "uv"
        make = [[uv, "venv", "--python", sys.executable, draft], [uv, "pip", "install", "--python", draft, _PACKAGE]]
        for command in make:
            subprocess.run([*command, "--quiet"], check=True, timeout=_INSTALL_WITHIN_S)
        try:
            draft.rename(_FOLDER)  # what is run as a module does not mind
        except OSError:  # another run was faster
            shutil.rmtree(draft)
    return _FOLDER / "bin" / "python"


if __name__ == "__main__":
    done = checked()
    sys.stdout.write(done.stdout + done.stderr)
    sys.exit(done.returncode)
