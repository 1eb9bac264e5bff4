"""A store whose certificate a private authority signed is spoken to where the URL names the authority's file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.errors import FailedPrecondition, Unavailable

from tests.support.object_store import BUCKET, KEYS, S3Server
from tests.support.servers import free_port

pytestmark = pytest.mark.integration


class TlsS3Server(S3Server):
    """The same store over TLS beside plain HTTP."""

    def command(self) -> list[str]:
        """With the certificate that lies beside its data."""
        self.tls_port = free_port()
        folder = self.data.parent
        files = [f"-s3.cert.file={folder / 'server.pem'}", f"-s3.key.file={folder / 'server.key'}"]
        return [*super().command(), f"-s3.port.https={self.tls_port}", *files]

    def url(self, query: str = "") -> str:
        """The bucket, over TLS."""
        return f"s3://{BUCKET}?endpoint=https://127.0.0.1:{self.tls_port}&region=us-east-1{query}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority's certificate, the server's and its key."""
    place = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(place / "ca.crt"))
    issued.cert_chain_pems[0].write_to_path(str(place / "server.pem"))
    issued.private_key_pem.write_to_path(str(place / "server.key"))
    return place


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[TlsS3Server]:
    (folder / "data").mkdir()
    server = TlsS3Server(folder / "data")
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def test_a_store_of_the_named_authority_keeps_what_it_is_given(store: TlsS3Server, folder: Path) -> None:
    blobs = ObstoreBlobs.from_url(store.url(f"&authority_file={folder / 'ca.crt'}"), **KEYS)
    await blobs.put("a/picture.png", b"pixels", content_type="image/png")
    assert await blobs.get("a/picture.png") == b"pixels"


async def test_a_store_of_another_authority_is_not_spoken_to(store: TlsS3Server, folder: Path) -> None:
    other = folder / "other.crt"
    trustme.CA().cert_pem.write_to_path(str(other))
    for query in ("", f"&authority_file={other}"):
        blobs = ObstoreBlobs.from_url(store.url(query), **KEYS)
        with pytest.raises(Unavailable):
            await blobs.put("a/picture.png", b"pixels", content_type="image/png")


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.crt"
    with pytest.raises(FailedPrecondition, match=str(absent)):
        ObstoreBlobs.from_url(f"s3://b?endpoint=https://s3:443&authority_file={absent}")
