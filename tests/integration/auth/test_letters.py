"""Letters reach a real SMTP server, and one that refuses at first gets them later."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from imagineo import errors
from imagineo.rpc.channel import connect
from imagineo.v1 import account_pb2, account_service_pb2_grpc, auth_service_pb2
from imagineo.v1 import account_service_pb2 as pb

from services.auth.mail import post_of
from tests.integration.auth.people import People, until
from tests.support.deadlines import SURELY_S
from tests.support.servers import free_port

pytestmark = pytest.mark.integration


class Inbox:
    """Keeps letters to Bo; turns the first of them away, as a busy server does."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.turned_away = 0

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        if envelope.rcpt_tos != ["bo@example.org"]:
            return "250 taken"
        if not self.turned_away:
            self.turned_away += 1
            return "451 come again"
        self.letters.append(envelope.content)
        return "250 taken"


class Accepting:
    """Lets everybody in who says a password, also without TLS."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def __call__(self, _server, _session, _envelope, _mechanism, said) -> AuthResult:
        self.said.append(said)
        return AuthResult(success=True)


async def test_no_password_is_said_to_a_server_without_tls():
    inbox, guard, port = Inbox(), Accepting(), free_port()
    inbox.turned_away = 1
    server = Controller(inbox, hostname="127.0.0.1", port=port, authenticator=guard, auth_require_tls=False)
    server.start()
    message = EmailMessage()
    message["From"], message["To"] = "imagineo@example.org", "bo@example.org"
    message.set_content("hello")
    try:
        with pytest.raises(errors.Unavailable, match="STARTTLS"):
            await post_of(f"smtp://user:secret@127.0.0.1:{port}").send(message)
        assert (guard.said, inbox.letters) == ([], [])
        await post_of(f"smtp://127.0.0.1:{port}").send(message)
        assert len(inbox.letters) == 1
    finally:
        await asyncio.to_thread(server.stop)


async def test_an_invitation_goes_out_by_smtp_and_is_tried_again(start):
    inbox = Inbox()
    port = free_port()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        settings = {"mail_url": f"smtp://127.0.0.1:{port}", "public_url": "https://images.example.org"}
        async with start(**settings) as auth, connect(f"127.0.0.1:{auth.port}") as channel:
            people = People(account_service_pb2_grpc.AccountServiceStub(channel), auth)
            ada = await people.sign_up()
            name = "=?utf-8?q?Hi=0AReply-To:_eve=40example.org?="
            await auth(auth_service_pb2.UpdateOrganizationRequest(organization_id=ada.organization_id, name=name))
            invitation = pb.CreateInvitationRequest(
                organization_id=ada.organization_id,
                email="bo@example.org",
                role=account_pb2.ROLE_VIEWER,
                actor=ada.actor,
            )
            made = await people(invitation)

            async def arrived():
                return list(inbox.letters)

            [content] = await until(arrived, holds=bool, within_s=SURELY_S)
    finally:
        await asyncio.to_thread(server.stop)
    letter = message_from_bytes(content, policy=default)
    assert inbox.turned_away == 1
    assert (letter["To"], letter["Subject"]) == ("bo@example.org", "You are invited to an organization")
    assert (letter.defects, letter["Reply-To"]) == ([], None)
    assert f"invites you to {name} as viewer." in letter.get_content()
    assert f"https://images.example.org/invitation#{made.token}" in letter.get_content()
