"""The templates: one environment, escaping always on, and the few words that every template may use."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.gateway.dashboard import pictures, static_files

_FOLDER: Final = Path(__file__).parent / "templates"
_MANY: Final = 10_000_000

#: What stands for a status, by the class of its badge.
_TONES: Final = {
    "queued": "",
    "running": "live",
    "canceling": "live",
    "pending": "live",
    "completed": "good",
    "delivered": "good",
    "active": "good",
    "accepted": "good",
    "open": "live",
    "failed": "bad",
    "revoked": "bad",
    "expired": "warn",
    "canceled": "warn",
}


def _time(value: str | None) -> Markup:
    """A moment as people read it; the script in the page turns it into the reader's own time."""
    if not value:
        return Markup("-")
    at = datetime.fromisoformat(value).astimezone(UTC)
    shown = at.strftime("%-d %b %Y, %H:%M UTC")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat().replace("+00:00", "Z"), shown)


def _size(count_bytes: int) -> str:
    value = float(count_bytes)
    for unit in ("bytes", "kB", "MB"):
        if value < 1_000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1_000
    return f"{value:.1f} GB"


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _short(value: float) -> str:
    """A count that fits into a tile: millions from ten of them on."""
    return f"{value / 1e6:,.0f} M" if value >= _MANY else _count(value)


def _badge(status: str) -> Markup:
    tone = _TONES.get(status, "")
    return Markup('<span class="badge{}">{}</span>').format(f" badge-{tone}" if tone else "", status)


def _initials(name: str) -> str:
    return "".join(word[0] for word in name.split()[:2]).upper() or "·"


def environment() -> Environment:
    """The templates; a name that is not given is an error, not an empty place."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(time=_time, size=_size, count=_count, short=_short, badge=_badge, initials=_initials)
    made.globals.update(static=static_files.address, door_pictures=pictures.of_door)
    return made


class Views:
    """Renders templates."""

    def __init__(self) -> None:
        self._environment = environment()

    def page(self, template: str, context: dict[str, Any]) -> str:
        """The whole of a template."""
        return self._environment.get_template(template).render(context)
