"""The guard in the service itself: names that lead inwards, redirects inwards, and the name that TLS is told."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from imagineo import errors
from imagineo.v1 import webhook_pb2 as pb

from tests.support.receiver import receiver, says

NAME = "hooks.example.com"


def leads_to(*addresses: str):
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


def tried(log):
    return log and log[0].attempts == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "https://127.0.0.1/", "https://localhost/", "http://a.example/"]
)
async def test_loopback_and_http_are_shut_unless_the_setting_opens_them(start, url):
    async with start(allow_loopback=False) as hooks:
        with pytest.raises(errors.InvalidParameter) as refused:
            await hooks.create(url)
        assert refused.value.metadata["param"] == "url"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "::ffff:127.0.0.1"])
async def test_a_name_that_leads_inwards_is_not_connected_to(start, target, address):
    async with start(leads_to(address), allow_loopback=False) as hooks:
        webhook_id, _ = await hooks.create(f"https://{NAME}:{target.port}/")
        await hooks.say()
        [line] = await hooks.until(tried, webhook_id)
    assert (line.state, line.status_code) == (pb.DELIVERY_STATE_PENDING, 0)
    assert line.last_error == "the host's address is not a public one"
    assert target.connections == 0


async def test_a_name_that_turns_inwards_after_it_was_registered_is_not_connected_to(start, clock, target):
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with start(resolve) as hooks:
        target.answers.append(says(500))
        webhook_id, _ = await hooks.create(f"http://{NAME}:{target.port}/")
        await hooks.say()
        await target.next()
        await hooks.until(tried, webhook_id)
        clock.ahead += timedelta(seconds=10)
        [line] = await hooks.until(lambda log: log[0].attempts == 2, webhook_id)
    assert line.last_error == "the host's address is not a public one"
    assert target.connections == 1


async def test_a_port_that_the_way_out_is_closed_to_is_refused_and_what_was_registered_before_is_told(start, target):
    async with start() as hooks:
        webhook_id, _ = await hooks.create(target.url)
    async with start(ports=(443, 8443)) as hooks:
        for url in (target.url, "https://hooks.example.com:8080/"):
            with pytest.raises(errors.InvalidParameter, match="443, 8443") as refused:
                await hooks.create(url)
            assert refused.value.metadata["param"] == "url"
        await hooks.say()
        [line] = await hooks.until(lambda log: log and log[0].state == pb.DELIVERY_STATE_DROPPED, webhook_id)
    assert "443, 8443" in line.last_error
    assert target.connections == 0


async def test_a_run_whose_url_is_not_taken_any_more_is_told_nowhere(start, target):
    async with start(allow_loopback=False) as hooks:
        await hooks.say(webhook_url=target.url)
        event_id = await hooks.say(webhook_url=f"https://{NAME}/")
        [line] = await hooks.until(lambda log: log)
    assert line.event_id == event_id
    assert target.connections == 0


async def test_a_redirect_inwards_is_a_failure_and_nobody_is_asked(hooks, target):
    async with receiver(says(307, Location=target.url)) as away:
        webhook_id, _ = await hooks.create(away.url)
        await hooks.say()
        [line] = await hooks.until(tried, webhook_id)
    assert (line.status_code, line.last_error) == (307, "HTTP 307: redirects are not followed")
    assert target.connections == 0


@pytest.fixture
def certificate(tmp_path):
    """A certificate for `NAME`, signed by itself: its file, and a server's TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(secret)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(file, tmp_path / "key.pem")
    return file, tls


async def test_tls_is_told_the_name_and_verifies_it_while_the_checked_address_is_dialled(start, certificate):
    file, tls = certificate
    asked = []
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with receiver(tls=tls) as safe, start(leads_to("127.0.0.1"), ca_file=str(file)) as hooks:
        _, secret = await hooks.create(f"https://{NAME}:{safe.port}/x?y=1")
        await hooks.say()
        request = await safe.next()
        request.verify(secret)
        assert asked == [NAME]
        assert request.headers["host"] == f"{NAME}:{safe.port}"
        assert request.line == "POST /x?y=1 HTTP/1.1"

        other, _ = await hooks.create(f"https://other.example.com:{safe.port}/")
        await hooks.say()
        [line] = await hooks.until(tried, other)
    assert "the certificate is not accepted (Hostname mismatch" in line.last_error


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(start, certificate):
    _, tls = certificate
    async with receiver(tls=tls) as unknown, start(leads_to("127.0.0.1")) as hooks:
        webhook_id, _ = await hooks.create(f"https://{NAME}:{unknown.port}/")
        await hooks.say()
        [line] = await hooks.until(tried, webhook_id)
        assert "the certificate is not accepted (self-signed certificate" in line.last_error
        assert not unknown.requests
