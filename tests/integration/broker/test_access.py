"""Every way to sign in to the broker, on the real server: password, nkey, a credentials file's kin, and TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nkeys
import pytest
import trustme
from imagineo import settings
from imagineo.broker.access import NatsAccess, NatsSettings
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.settings import Secret

from tests.support.servers import NatsServer

Start = Callable[[str], NatsServer]


class ConfiguredServer(NatsServer):
    """NATS with lines of a configuration file."""

    lines = ""

    def command(self) -> list[str]:
        config = self.data / "nats.conf"
        config.write_text(self.lines)
        return [*super().command(), "-c", str(config)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[NatsServer] = []

    def start_one(lines: str) -> NatsServer:
        server = ConfiguredServer(tmp_path)
        server.lines = lines
        server.start()
        started.append(server)
        return server

    yield start_one
    for server in started:
        server.stop()


async def is_let_in(url: str, access: NatsAccess, wait_s: float = 5.0) -> bool:
    broker = await JetStreamBroker.connect(url, name="test", access=access, wait_s=wait_s)
    try:
        return broker.connected
    finally:
        await broker.close()


async def test_by_user_and_password(start: Start):
    server = start('authorization { user: "auth", password: "right" }')

    assert await is_let_in(server.url, NatsAccess(user="auth", password=Secret("right")))
    assert not await is_let_in(server.url, NatsAccess(user="auth", password=Secret("wrong")), wait_s=0.3)


async def test_by_an_nkey(start: Start, tmp_path: Path):
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    file = tmp_path / "auth.nk"
    file.write_bytes(bytes(seed))
    server = start(f"authorization {{ users: [{{ nkey: {public} }}] }}")

    assert await is_let_in(server.url, NatsAccess(nkey_file=str(file)))
    assert not await is_let_in(server.url, NatsAccess(), wait_s=0.3)


async def test_over_tls_with_an_authority_of_ones_own(start: Start, tmp_path: Path):
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    pem = tmp_path / "server.pem"
    server = start(f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}')
    url = f"tls://localhost:{server.port}"

    assert await is_let_in(url, NatsAccess(authority_file=str(tmp_path / "ca.pem")))
    assert not await is_let_in(url, NatsAccess(authority_file=str(tmp_path / "other.pem")), wait_s=0.5)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"NATS_USER": "a", "NATS_PASSWORD": "b", "NATS_NKEY_FILE": "/nk"}, "only one of"),
        ({"NATS_USER": "a"}, "go together"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], said: str):
    given = {f"IMAGINEO_{name}": value for name, value in {"NATS_URL": "nats://n", **environ}.items()}

    with pytest.raises(settings.SettingsError, match=said):
        settings.read(NatsSettings, given, prefix="IMAGINEO_AUTH_")
