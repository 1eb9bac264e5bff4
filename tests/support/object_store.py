"""A real S3 server as a child process: SeaweedFS in one process, on free loopback ports, gone at the end."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imagineo.blobs.obstore import ObstoreBlobs

from tests.support.servers import Server, free_port

KEYS = {"access_key_id": "imagineo", "secret_access_key": "imagineo-tests"}
BUCKET = "images"


class S3Server(Server):
    """One bucket; anyone who knows `KEYS` may do all."""

    ready_word = "Press Ctrl+C"

    def command(self) -> list[str]:
        """Listen on loopback; the parts that S3 does not need are left out."""
        ports = [
            f"-{part}={free_port()}"
            for name in ("master.port", "volume.port", "filer.port")
            for part in (name, f"{name}.grpc")
        ]
        return [
            *(
                "env",
                f"AWS_ACCESS_KEY_ID={KEYS['access_key_id']}",
                f"AWS_SECRET_ACCESS_KEY={KEYS['secret_access_key']}",
            ),
            *(str(Path(sys.executable).with_name("weed")), "mini", f"-dir={self.data}", f"-bucket={BUCKET}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={self.port}", f"-s3.port.grpc={free_port()}", *ports),
            *("-admin.ui=false", "-webdav=false", "-master.telemetry=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]

    def blobs(self, **options: float) -> ObstoreBlobs:
        """Open the bucket below a prefix."""
        return ObstoreBlobs.from_url(
            f"s3://{BUCKET}/contract?endpoint=http://127.0.0.1:{self.port}&region=us-east-1", **options, **KEYS
        )


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a fresh S3 server."""
    data = Path(tempfile.mkdtemp(prefix="imagineo-s3-"))
    try:
        server = S3Server(data)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(data, ignore_errors=True)
