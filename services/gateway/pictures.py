"""Pictures of clients: decoded by a process of its own, some at once, each within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from imagineo import errors

#: What the decoder's process may take on a busy machine; its own bound is on processor time.
_WITHIN_S: Final = 120.0
_ROOT: Final = Path(__file__).parents[2]
_MODULE: Final = "services.gateway.picture_decoding"


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture as it is kept, a PNG on the disk."""

    format: str
    """The type of the file that was sent: `png`, `jpeg` or `webp`."""
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str


class Pictures:
    """Decodes at most `at_once` pictures side by side; more wait."""

    def __init__(self, at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def keep(self, source: Path, target: Path) -> Kept:
        """Write the picture of the file `source` to `target` as an upright RGB PNG without metadata.

        Raises:
            InvalidFile: if it is no picture that is taken, or a damaged one.
            Unavailable: if the machine is too busy to tell.
        """
        async with self._turns:
            said = await _decode(source, target)
        if "refused" in said:
            raise refused(said["refused"])
        size_bytes, sha256 = await asyncio.to_thread(digest_of, target)
        return Kept(said["format"], said["width_px"], said["height_px"], size_bytes, sha256)


def refused(reason: str) -> errors.InvalidFile:
    """Say why a file is not taken."""
    return errors.InvalidFile(reason, metadata={"param": "file"})


def digest_of(path: Path) -> tuple[int, str]:
    """A file's length and digest; reads it all."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, sha256


async def _decode(source: Path, target: Path) -> dict[str, Any]:
    # `-P`: what lies in the folder that the gateway was started from is no module.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", _MODULE, str(source), str(target)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": str(_ROOT)},
    )
    try:
        async with asyncio.timeout(_WITHIN_S):
            answer, _ = await process.communicate()
    except TimeoutError as problem:
        raise errors.Unavailable("The picture could not be decoded in time.") from problem
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise refused("The picture takes too long to decode.")
    if process.returncode != 0:
        raise refused("The picture cannot be decoded: its decoder failed.")
    said: dict[str, Any] = json.loads(answer)
    return said
