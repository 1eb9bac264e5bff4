"""The headers that keep a page safe: nothing from elsewhere, nothing inline, nobody's frame."""

from __future__ import annotations

from typing import Final

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:{elsewhere}; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def headers(public_url: str) -> dict[str, str]:
    """The headers of every page.

    Args:
        public_url: where image links lead; empty: here.
    """
    return {
        "Content-Security-Policy": _POLICY.format(elsewhere=f" {public_url}" if public_url else ""),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-store",
    }
