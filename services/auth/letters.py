"""The letters that people get, and their way out: in the background, tried again a few times.

A link's token is kept in memory alone until its letter is gone. It stands in the link's fragment, which browsers do not
send, so that it is in no server's log. Headers hold constant words and checked addresses: what people name things
stands in the text alone, where nothing decodes it.
"""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from functools import partial
from typing import Final

from imagineo import errors
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from services.auth.backlog import Backlog
from services.auth.mail import Post
from services.auth.people import INVITATION_AGE, RESET_AGE, VERIFICATION_AGE, Invitation, User, one_line

_ATTEMPTS: Final = 4


class Letters:
    """Writes letters and sends them. Without a post nothing is sent, and who asks for a reset is told so."""

    def __init__(self, post: Post | None, *, sender: str, public_url: str) -> None:
        self._post = post
        self._sender = sender
        self._public_url = public_url.rstrip("/")
        self._backlog = Backlog("a letter")

    def check_can_send(self) -> None:
        """Make sure that letters go somewhere.

        Raises:
            FailedPrecondition: if they do not.
        """
        if self._post is None:
            raise errors.FailedPrecondition("This platform sends no mail. Ask those who run it for a new password.")

    def invitation(self, invitation: Invitation, token: str) -> EmailMessage:
        """Write the letter with an invitation's link; `send` takes it once the invitation is stored."""
        link = f"{self._public_url}/invitation#{token}"
        text = (
            f"{one_line(invitation.invited_by) or 'The platform'} invites you to "
            f"{one_line(invitation.organization_name)} "
            f"as {invitation.role}.\n\nThe link works once, for {INVITATION_AGE.days} days:\n{link}\n"
        )
        return self._letter(invitation.email, "You are invited to an organization", text)

    def reset(self, user: User, token: str) -> None:
        """Send the link that sets a new password."""
        link = f"{self._public_url}/reset-password#{token}"
        text = (
            f"Somebody, hopefully you, asked for a new password.\n\nThe link works once, for "
            f"{int(RESET_AGE.total_seconds() // 60)} minutes:\n{link}\n\nIf it was not you, nothing has changed.\n"
        )
        self.send(self._letter(user.email, "Set a new password", text))

    @property
    def can_send(self) -> bool:
        """Whether letters go somewhere."""
        return self._post is not None

    def verification(self, user: User, token: str) -> None:
        """Send the link that proves a mail address."""
        link = f"{self._public_url}/verify-email#{token}"
        text = (
            "Somebody, hopefully you, made an account with this mail address.\n\nThe link confirms it; it works once, "
            f"for {VERIFICATION_AGE.days} days:\n{link}\n\nIf it was not you, leave it: nobody else can confirm it.\n"
        )
        self.send(self._letter(user.email, "Confirm your mail address", text))

    def send(self, message: EmailMessage) -> None:
        """Let a letter go out in the background; without a post it goes nowhere."""
        if self._post is not None:
            self._backlog.put(partial(self._deliver, self._post, message))

    async def run(self) -> None:
        """Send for ever; what cannot be sent after some tries is logged and dropped."""
        await self._backlog.run()

    @staticmethod
    async def _deliver(post: Post, message: EmailMessage) -> None:
        tries = AsyncRetrying(
            retry=retry_if_exception_type(errors.Unavailable),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=1, max=30),
            reraise=True,
        )
        async for attempt in tries:
            with attempt:
                await post.send(message)

    def _letter(self, to: str, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = self._sender, Address(addr_spec=to)
        message["Subject"] = subject
        message.set_content(text)
        return message
