"""Letters hold no header that somebody else wrote, and one that cannot go holds up no other."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from email.message import EmailMessage

from imagineo.ids import new_id

from services.auth.letters import Letters
from services.auth.people import Client, Invitation, Role, User
from services.auth.sign_in_notes import SignInNotes
from tests.support.deadlines import SURELY_S

NOW = datetime.now(UTC)
INVITATION = Invitation(
    invitation_id=new_id("inv"),
    organization_id="org_studio",
    organization_name="Studio",
    email="bo@example.org",
    role=Role.VIEWER,
    invited_by="ada@example.org",
    created_at=NOW,
    expires_at=NOW,
    accepted_at=None,
    revoked_at=None,
)


class Box:
    """A post that fails at the first letter, in a way that nobody foresaw."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[EmailMessage] = asyncio.Queue()
        self.asked = 0

    async def send(self, message: EmailMessage) -> None:
        self.asked += 1
        if self.asked == 1:
            raise UnicodeError(message["To"])
        self.taken.put_nowait(message)


def letters_to(box: Box) -> Letters:
    return Letters(box, sender="imagineo@example.org", public_url="https://images.example.org")


def test_what_people_name_things_is_in_no_header_and_adds_no_line():
    named = dataclasses.replace(INVITATION, organization_name="=?utf-8?q?Hi=0AReply-To:_eve?=\nhttps://evil.example")
    letter = letters_to(Box()).invitation(named, "token")
    plain = letters_to(Box()).invitation(INVITATION, "token")
    assert letter.keys() == plain.keys()
    assert [letter[each] for each in ("From", "To", "Subject")] == [plain[each] for each in ("From", "To", "Subject")]
    assert len(letter.get_content().splitlines()) == len(plain.get_content().splitlines())


async def test_a_letter_that_fails_unforeseen_does_not_hold_up_the_next():
    box = Box()
    letters = letters_to(box)
    running = asyncio.create_task(letters.run())
    for email in ("bo@example.org", "cy@example.org"):
        letters.send(letters.invitation(dataclasses.replace(INVITATION, email=email), "token"))
    taken = await asyncio.wait_for(box.taken.get(), timeout=SURELY_S)
    assert taken["To"] == "cy@example.org"
    running.cancel()


class Asked:
    """Stands for the rows: fails at the first user unforeseen, then finds one whose address no header can name."""

    def __init__(self) -> None:
        self.emails: list[str] = []
        self.noted = asyncio.Event()

    async def user_by_email(self, email: str) -> User | None:
        self.emails.append(email)
        if len(self.emails) == 1:
            raise KeyError(email)
        return User(new_id("user"), email, "Ada", is_administrator=False, created_at=NOW)

    async def open_reset(self, user_id: str, digest: bytes) -> None:
        """Nothing is kept."""

    async def note_failed(self, failures: list[tuple[str, Client]]) -> None:
        self.noted.set()


async def test_a_note_that_fails_unforeseen_does_not_hold_up_the_next():
    asked = Asked()
    notes = SignInNotes(asked, asked, letters_to(Box()))
    running = asyncio.create_task(notes.run())
    notes.reset_wanted("a@example.org")
    notes.reset_wanted("a..b@example.org")  # stored before such addresses were refused
    notes.failed("user", Client())
    await asyncio.wait_for(asked.noted.wait(), timeout=SURELY_S)
    assert len(asked.emails) == 2
    running.cancel()
