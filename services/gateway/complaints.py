"""What is wrong with a batch's items: as many as a person mends at once are named in one answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from imagineo import errors

#: So many are named.
MAX_NAMED: Final = 10


@dataclass(slots=True)
class Complaints:
    """Refusals of single items, in their order."""

    noted: list[errors.Refused] = field(default_factory=list)

    @property
    def is_enough(self) -> bool:
        """Whether looking on would tell nobody more."""
        return len(self.noted) >= MAX_NAMED

    def check(self) -> None:
        """Refuse, if anything was noted: as the first one does, and in its message the others.

        Raises:
            Refused: of the first one's kind.
        """
        if not self.noted:
            return
        first, *others = self.noted
        if not others:
            raise first
        named = "At least " if self.is_enough else ""
        counted = f"{named}{len(others)} more {'are' if len(others) > 1 else 'is'} wrong:"
        message = " ".join((first.message, counted, *(one.message for one in others)))
        raise type(first)(message, metadata=first.metadata, retry_after_s=first.retry_after_s) from first
