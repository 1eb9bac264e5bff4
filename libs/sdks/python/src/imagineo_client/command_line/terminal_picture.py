"""Pictures inside a terminal, by the protocols of kitty and iTerm2; others show none.

By hand, because either is one escape sequence around the file itself. Source: kitty's "Terminal graphics protocol",
iTerm2's "Inline Images Protocol".
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

from imagineo_client.pictures import Picture

_CHUNK = 4096
_ITERM = frozenset({"iTerm.app", "WezTerm", "mintty"})


def sequences(picture: Picture, variables: Mapping[str, str]) -> Iterator[str]:
    """What to write to the terminal that the environment's variables describe; nothing where it shows no pictures."""
    encoded = base64.b64encode(picture).decode()
    if variables.get("TERM_PROGRAM") in _ITERM or "ITERM_SESSION_ID" in variables:
        yield f"\x1b]1337;File=inline=1;size={len(picture)};preserveAspectRatio=1:{encoded}\a\n"
    elif ("KITTY_WINDOW_ID" in variables or variables.get("TERM_PROGRAM") == "ghostty") and picture.format == "png":
        for at in range(0, len(encoded), _CHUNK):
            more = int(at + _CHUNK < len(encoded))
            head = f"a=T,f=100,m={more}" if at == 0 else f"m={more}"
            yield f"\x1b_G{head};{encoded[at : at + _CHUNK]}\x1b\\"
        yield "\n"
