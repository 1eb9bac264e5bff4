"""The pages' style sheet, scripts and pictures: read once, named by their content, kept by browsers for good.

The style sheet is written in rooms, `styles/`, and sent as one file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from imagineo import errors
from starlette.responses import Response

_FOLDER: Final = Path(__file__).parent / "static"
#: The rooms of the style sheet, in their order: what comes later may say it more narrowly.
ROOMS: Final = (
    *("tokens", "ground", "frame", "surfaces", "controls"),
    *("tables", "pictures", "playground", "pages", "doors"),
)
_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".txt": "text/plain",
}

FILES: Final = {
    "app.css": b"\n".join((_FOLDER.parent / "styles" / f"{room}.css").read_bytes() for room in ROOMS),
    **{
        path.relative_to(_FOLDER).as_posix(): path.read_bytes()
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in _TYPES
    },
}
_VERSIONS: Final = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in FILES.items()}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"


def address(name: str) -> str:
    """Where a file is read, with its version, so that a browser never shows an old one."""
    return f"/static/{name}?v={_VERSIONS[name]}"


def answer(name: str, version: str) -> Response:
    """The file.

    Raises:
        NotFound: if there is none of this name.
    """
    if name not in FILES:
        raise errors.NotFound("There is no such file.")
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": _FOR_GOOD if version == _VERSIONS[name] else "no-cache",
    }
    return Response(FILES[name], headers=headers, media_type=_TYPES[Path(name).suffix])
