"""How large a page is, for every list of this service. Pure."""

from __future__ import annotations

from typing import Final

from imagineo import errors

_PAGE: Final = 20
_MAX_PAGE: Final = 100


def page_size(asked: int) -> int:
    """The size in force.

    Raises:
        InvalidParameter: if it is out of range.
    """
    if not 0 <= asked <= _MAX_PAGE:
        raise errors.InvalidParameter.of("page_size", f"between 1 and {_MAX_PAGE}")
    return asked or _PAGE
