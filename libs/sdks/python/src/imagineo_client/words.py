"""Words that answers choose from, open to those that a newer server adds."""

from __future__ import annotations

from enum import Enum


class OpenEnum(str, Enum):
    """A string of a known set; an unknown one decodes too, as itself."""

    @classmethod
    def _missing_(cls, value: object) -> OpenEnum | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    def __str__(self) -> str:
        return str.__str__(self)

    def __format__(self, spec: str) -> str:
        return str.__format__(self, spec)

    def __repr__(self) -> str:
        return str.__repr__(self)
