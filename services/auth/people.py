"""The nouns around people: users, members, sessions, invitations, and who asks for a change. Pure."""

from __future__ import annotations

import dataclasses
import enum
import re
import unicodedata
from datetime import datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from typing import Final

from imagineo import errors
from imagineo.permissions import PERMISSIONS_OF, ROLES, SCOPE_WORDS

#: A session ends after so long without use, and after so long in any case.
SESSION_IDLE: Final = timedelta(days=14)
SESSION_AGE: Final = timedelta(days=90)
INVITATION_AGE: Final = timedelta(days=7)
RESET_AGE: Final = timedelta(hours=1)
VERIFICATION_AGE: Final = timedelta(days=2)

MAX_NAME_LENGTH: Final = 100
_MAX_EMAIL_LENGTH: Final = 254
_MAX_AGENT_LENGTH: Final = 200
#: No signs that a mail's header reads as several addresses.
_EMAIL: Final = re.compile(r"[^@\s<>(),;:\\\"\[\]]+@[^@\s<>(),;:\\\"\[\]]+")


class Role(enum.StrEnum):
    """What a member may do; the permissions stand in `imagineo.permissions`."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


def words_of(role: Role) -> frozenset[str]:
    """What a role allows, in the words of scopes."""
    return frozenset(SCOPE_WORDS[number] for number in PERMISSIONS_OF[ROLES[role.value]])


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as far as the gateway can tell."""

    address: str = ""
    user_agent: str = ""

    @classmethod
    def of(cls, address: str, user_agent: str) -> Client:
        """Keep what can be stored, in bounds."""
        return cls(one_line(address)[:64], one_line(user_agent)[:_MAX_AGENT_LENGTH])


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change: a user, a key, or an operator where both are empty."""

    user_id: str = ""
    key_id: str = ""
    client: Client = dataclasses.field(default_factory=Client)

    @property
    def is_operator(self) -> bool:
        """Tell whether nobody is named."""
        return not (self.user_id or self.key_id)


OPERATOR: Final = Actor()


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """A person with a mail address."""

    user_id: str
    email: str
    name: str
    is_administrator: bool
    created_at: datetime
    is_verified: bool = False
    """A link that was mailed to them came back, or an operator vouches for the address."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A user in an organization."""

    organization_id: str
    organization_name: str
    user_id: str
    email: str
    name: str
    role: Role
    joined_at: datetime
    last_seen_at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """A log-in that has not ended."""

    session_id: str
    user_id: str
    organization_id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    client: Client


@dataclasses.dataclass(frozen=True, slots=True)
class Invitation:
    """Lets one person become a member, once."""

    invitation_id: str
    organization_id: str
    organization_name: str
    email: str
    role: Role
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None


def email_key(email: str) -> str:
    """The address as it is compared: two that differ in case or in Unicode's spelling are one person's."""
    return unicodedata.normalize("NFKC", email).casefold()


def check_email(email: str) -> str:
    """Give the address without the blanks around it.

    Raises:
        InvalidParameter: if it cannot be one.
    """
    email = email.strip()
    if len(email) > _MAX_EMAIL_LENGTH or one_line(email) != email or not _is_mailable(email):
        raise errors.InvalidParameter.of("email", f"a mail address of at most {_MAX_EMAIL_LENGTH} characters")
    return email


def check_name(field: str, name: str) -> str:
    """Give the name without the blanks around it.

    Raises:
        InvalidParameter: if it is empty, too long, or holds line ends or other control characters.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME_LENGTH or one_line(name) != name:
        raise errors.InvalidParameter.of(
            field, f"1 to {MAX_NAME_LENGTH} characters, without line ends and other control characters"
        )
    return name


def check_may_assign(actor: Role | None, *, before: Role | None, after: Role | None) -> None:
    """Refuse a change of role that is not the actor's to make. None: an operator; no role before, none after.

    Raises:
        PermissionDenied: naming what would be needed.
    """
    if actor is None or actor is Role.OWNER:
        return
    if actor is not Role.ADMIN:
        raise errors.PermissionDenied(
            "Only owners and admins change who belongs to the organization.", metadata={"permission": "members:write"}
        )
    if Role.OWNER in (before, after):
        raise errors.PermissionDenied("Only owners make, change or remove owners.", metadata={"role": Role.OWNER})


def check_owner_stays(before: Role, after: Role | None, owners_count: int) -> None:
    """Keep an organization from being left without an owner.

    Raises:
        FailedPrecondition: for the last one.
    """
    if before is Role.OWNER and after is not Role.OWNER and owners_count <= 1:
        raise errors.FailedPrecondition("The last owner stays. Make somebody else an owner first.")


def _is_mailable(email: str) -> bool:
    """Tell whether a letter's header can name the address; `=?` begins a word that mail programs decode."""
    try:
        return _EMAIL.fullmatch(email) is not None and "=?" not in email and bool(Address(addr_spec=email).domain)
    except (MessageError, ValueError, IndexError):  # what the parser raises, and what it runs into
        return False


def one_line(text: str) -> str:
    """The text without what has no place in a line: line ends, control characters, and halves of characters."""
    return "".join(
        character
        for character in text
        if character == "\u200d" or not unicodedata.category(character).startswith(("C", "Zl", "Zp"))
    )
