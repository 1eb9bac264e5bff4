"""Builds the images without a container engine: buildah in a chroot, over a base that debootstrap makes.

Needs root, and Debian's `buildah` and `debootstrap`. Where an engine is at hand the Dockerfile works with it as it is.
`python -m deploy.docker.images FOLDER IMAGE…` builds with the standard library and pip alone, while the rest is set up.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.docker.locks import FOLDER, REPOSITORY, lock_path

LOCAL_BASE: Final = "localhost/imagineo-base:bookworm"
#: Those that are built where none is named, and all of them: the image whose lock file says what each holds.
USUAL: Final = ("control", "worker")
IMAGES: Final = {"control": "control", "worker": "worker", "worker-compile": "worker"}
#: What debootstrap leaves and no program of an image reads: a third of the base.
_NOT_NEEDED: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/locale", "usr/share/man")
#: Debian bookworm's.
PYTHON: Final = (3, 11)


def name_of(image: str) -> str:
    """An image's name in the local storage."""
    return f"localhost/imagineo-{image}:local"


def _git(*arguments: str) -> str:
    """What git says of the repository; nothing where this is none."""
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Builder:
    """Builds images below one folder: buildah's storage, the base's root file system and the wheels."""

    folder: Path

    def buildah(self, *arguments: str, capture: bool = False) -> str:
        """Run buildah on this folder's storage; gives what it printed where `capture` asks for it.

        Raises:
            subprocess.CalledProcessError: if it failed.
        """
        done = subprocess.run(
            [*self.command(), *arguments],
            check=True,
            text=True,
            stdout=subprocess.PIPE if capture else None,
        )
        return (done.stdout or "").strip()

    def command(self) -> list[str]:
        """Buildah with this folder's storage."""
        places = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        return ["buildah", "--storage-driver", "vfs", *places]

    def has(self, name: str) -> bool:
        """Tell whether the storage holds an image."""
        return bool(self.buildah("images", "--quiet", "--filter", f"reference={name}", capture=True))

    def is_fresh(self, image: str) -> bool:
        """Tell whether the storage holds an image of what is checked out here, and nothing has changed since."""
        if not self.has(name_of(image)):
            return False
        label = '{{index .OCIv1.Config.Labels "org.opencontainers.image.revision"}}'
        built = self.buildah("inspect", "--type", "image", "--format", label, name_of(image), capture=True)
        return built == _git("rev-parse", "HEAD") and not _git("status", "--porcelain")

    def base(self) -> None:
        """Make the base image of Debian's minimal system, once."""
        if self.has(LOCAL_BASE):
            return
        root = self.folder / "base"
        shutil.rmtree(root, ignore_errors=True)
        with (self.folder / "debootstrap.log").open("w") as log:  # two lines for each package
            subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(root)], check=True, stdout=log)
        for waste in _NOT_NEEDED:
            shutil.rmtree(root / waste)
        container = self.buildah("from", "scratch", capture=True)
        self.buildah("add", "--quiet", container, str(root), "/")
        self.buildah("commit", "--quiet", "--rm", container, LOCAL_BASE)
        shutil.rmtree(root)

    def wheels(self, packages: str, lock: Path) -> Path:
        """Fetch what a lock file names, once, with this machine's pip: it knows the way to its index.

        Raises:
            RuntimeError: if this is another Python than the images'.
        """
        place = self.folder / "wheels" / f"{packages}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
        if place.exists():
            return place
        if sys.version_info[:2] != PYTHON:
            raise RuntimeError(
                "The images hold Python 3.11, and wheels are fetched for the Python that runs this: use 3.11."
            )
        fetched = place.with_suffix(".part")
        shutil.rmtree(fetched, ignore_errors=True)
        forms = ["--only-binary=:all:", "--no-binary=nkeys"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", *forms, "--require-hashes", "--no-deps"]
        subprocess.run([*pip, "--dest", str(fetched), "--requirement", str(lock)], check=True, stdout=sys.stderr)
        fetched.rename(place)
        return place

    def build(self, image: str, lock: Path | None = None) -> str:
        """Build one image over the local base; gives its name. `lock`: in place of the worker's own lock file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.base()
        packages = IMAGES[image]
        chosen = lock or lock_path(packages)
        revision = _git("rev-parse", "HEAD") or "unknown"
        arguments = [f"BASE={LOCAL_BASE}", "PIP_OPTIONS=--no-index", f"REVISION={revision}"]
        if lock is not None:
            arguments.append(f"WORKER_LOCK={chosen.resolve().relative_to(REPOSITORY)}")
        self.buildah(
            *("build", "--quiet", "--isolation", "chroot", "--layers=false"),  # a layer kept is a whole copy with vfs
            *("--target", image, "--tag", name_of(image)),
            *("--build-context", f"wheels={self.wheels(packages, chosen)}"),
            *(option for argument in arguments for option in ("--build-arg", argument)),
            *(
                "--ignorefile",
                str(FOLDER / "Dockerfile.dockerignore"),
                "--file",
                str(FOLDER / "Dockerfile"),
                str(REPOSITORY),
            ),
        )
        return name_of(image)

    def sbom(self, image: str, target: Path) -> None:
        """Write what a built image holds of Python packages as CycloneDX JSON.

        Source: https://cyclonedx.org/specification/overview/, version 1.6.
        """
        container = self.buildah("from", "--pull-never", name_of(image), capture=True)
        try:
            root = Path(self.buildah("mount", container, capture=True))
            tool = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-format", "JSON"]
            subprocess.run([*tool, "--output-file", str(target), str(root / "opt/imagineo")], check=True)
        finally:
            self.buildah("rm", container, capture=True)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        Builder(Path(sys.argv[1])).build(each)
