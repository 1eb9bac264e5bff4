"""The headers that keep a page safe: nothing from elsewhere, nothing inline, nobody's frame."""

from __future__ import annotations

from typing import Final

from services.gateway.settings import GatewaySettings

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:{elsewhere}; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def headers(settings: GatewaySettings) -> dict[str, str]:
    """The headers of every page; image links lead to the public URL, or here where there is none."""
    public_url = settings.public_url.rstrip("/")
    return transport(settings) | {
        "Content-Security-Policy": _POLICY.format(elsewhere=f" {public_url}" if public_url else ""),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-store",
    }


def transport(settings: GatewaySettings) -> dict[str, str]:
    """What keeps a browser that was here by https from coming by http. Source: RFC 6797."""
    if not (settings.is_secure and settings.hsts_s):
        return {}
    return {"Strict-Transport-Security": f"max-age={settings.hsts_s}"}
