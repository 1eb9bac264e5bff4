"""The style sheet is written in rooms and sent as one."""

from __future__ import annotations

from pathlib import Path

from services.gateway import dashboard
from services.gateway.dashboard import static_files

FOLDER = Path(dashboard.__file__).parent


def test_every_room_of_the_style_sheet_is_sent_in_one_file() -> None:
    rooms = sorted(path.read_text() for path in (FOLDER / "styles").glob("*.css"))
    sent = static_files.FILES["app.css"].decode()

    assert len(rooms) == len(static_files.ROOMS)
    assert all(room in sent for room in rooms)
    assert static_files.answer("app.css", "").media_type == "text/css"


def test_braces_close_in_every_room() -> None:
    for path in (FOLDER / "styles").glob("*.css"):
        text = path.read_text()
        assert text.count("{") == text.count("}"), path.name
