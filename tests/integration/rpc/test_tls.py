"""Mutual TLS between services: who shows no certificate stays out, names are checked, renewals count at once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme
from imagineo import settings
from imagineo.errors import PermissionDenied, Unavailable
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call, check_health
from imagineo.rpc.server import RpcServer
from imagineo.rpc.tls import TlsIdentity, TlsSettings
from imagineo.v1 import auth_service_pb2 as pb
from imagineo.v1 import auth_service_pb2_grpc as rpc
from prometheus_client import REGISTRY


class Files:
    """One program's three files, as a mounted Secret holds them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.paths = [folder / name for name in ("tls.crt", "tls.key", "ca.crt")]

    def write(self, authority: trustme.CA, name: str) -> Files:
        issued = authority.issue_cert(name)
        certificate, key, trusted = self.paths
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        trusted.write_bytes(authority.cert_pem.bytes())
        return self

    def identity(self, *callers: str) -> TlsIdentity:
        certificate, key, trusted = self.paths
        return TlsIdentity(certificate, key, authority=trusted, callers=callers, look_s=0)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def own(tmp_path: Path, authority: trustme.CA) -> Files:
    """The server's files; it is known as localhost."""
    return Files(tmp_path / "server").write(authority, "localhost")


@pytest.fixture
def clients(tmp_path: Path, authority: trustme.CA) -> Files:
    return Files(tmp_path / "client").write(authority, "gateway.imagineo.svc")


@contextlib.asynccontextmanager
async def serving(files: Files) -> AsyncIterator[int]:
    server = RpcServer("127.0.0.1:0", tls=files.identity())
    port = await server.start()
    try:
        yield port
    finally:
        await server.drain(0)


async def test_peers_of_one_authority_talk(own: Files, clients: Files):
    async with serving(own) as port, connect(f"localhost:{port}", clients.identity()) as channel:
        await check_health(channel)


async def test_who_shows_no_certificate_is_refused(own: Files, authority: trustme.CA):
    trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with serving(own) as port, grpc.aio.secure_channel(f"localhost:{port}", trusting) as channel:
        with pytest.raises(Unavailable):
            await check_health(channel)
        async with connect(f"localhost:{port}") as plain:
            with pytest.raises(Unavailable):
                await check_health(plain)


async def test_a_certificate_of_another_authority_is_refused(own: Files, tmp_path: Path, authority: trustme.CA):
    stranger = Files(tmp_path / "stranger").write(trustme.CA(), "gateway.imagineo.svc")
    stranger.paths[2].write_bytes(authority.cert_pem.bytes())  # it trusts us; we do not trust it
    async with serving(own) as port, connect(f"localhost:{port}", stranger.identity()) as channel:
        with pytest.raises(Unavailable):
            await check_health(channel)


async def test_a_server_of_another_name_is_not_spoken_to(own: Files, clients: Files, authority: trustme.CA):
    own.write(authority, "auth.imagineo.svc")
    async with serving(own) as port, connect(f"localhost:{port}", clients.identity()) as channel:
        with pytest.raises(Unavailable):
            await check_health(channel)


async def test_renewed_files_count_without_a_restart(own: Files, clients: Files):
    async with serving(own) as port:
        async with connect(f"localhost:{port}", clients.identity()) as channel:
            await check_health(channel)
            # A new authority: both sides must have read anew, or nobody would know anybody.
            renewed = trustme.CA()
            own.write(renewed, "localhost")
            clients.write(renewed, "gateway.imagineo.svc")

            await check_health(channel)

        async with connect(f"localhost:{port}", clients.identity()) as channel:
            await check_health(channel)


async def test_a_half_written_renewal_leaves_the_old_certificate_in_use(
    own: Files, clients: Files, authority: trustme.CA, caplog: pytest.LogCaptureFixture
):
    identity = clients.identity()
    before = identity.current()
    clients.paths[1].write_bytes(authority.issue_cert("other").private_key_pem.bytes())

    with caplog.at_level(logging.WARNING):
        assert identity.current() is before
    assert "the key is not the certificate's" in caplog.text

    clients.write(authority, "gateway.imagineo.svc")
    assert identity.current() is not before


class Usage(rpc.AuthServiceServicer):
    async def GetUsage(self, request, context):  # noqa: N802 - the generated name
        return pb.GetUsageResponse()


@pytest.mark.parametrize(
    ("callers", "may"),
    [((), True), (("gateway.imagineo.svc", "worker"), True), (("worker",), False)],
)
async def test_who_bears_none_of_the_callers_names_may_not_call(
    own: Files, clients: Files, callers: tuple[str, ...], may: bool
):
    server = RpcServer("127.0.0.1:0", tls=own.identity(*callers))
    server.add(rpc.add_AuthServiceServicer_to_server, Usage(), "imagineo.v1.AuthService")
    port = await server.start()
    refused = contextlib.nullcontext() if may else pytest.raises(PermissionDenied, match=r"gateway\.imagineo\.svc")
    try:
        async with connect(f"localhost:{port}", clients.identity()) as channel:
            await check_health(channel)  # health is everybody's
            with refused:
                await call(rpc.AuthServiceStub(channel).GetUsage, pb.GetUsageRequest(), timeout_s=5)
    finally:
        await server.drain(0)


def test_the_end_of_the_certificate_is_shown(own: Files):
    pems = own.identity().current()

    shown = REGISTRY.get_sample_value("imagineo_tls_certificate_expires_at_seconds", {"role": "grpc"})
    assert shown == pems.expires_at_s


def test_files_that_cannot_be_used_end_the_start_with_a_sentence(own: Files):
    own.paths[0].write_text("not PEM")

    with pytest.raises(settings.SettingsError, match="TLS files cannot be used"):
        own.identity()


def test_half_the_files_are_refused():
    environ = {"IMAGINEO_TLS_CERTIFICATE_FILE": "/tls.crt"}

    with pytest.raises(settings.SettingsError, match="TLS_KEY_FILE"):
        settings.read(TlsSettings, environ, prefix="IMAGINEO_AUTH_")
    assert settings.read(TlsSettings, {}, prefix="IMAGINEO_AUTH_").tls_identity() is None
