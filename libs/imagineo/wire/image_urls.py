"""Signed image URLs: whoever holds one may read that one image until it expires. Pure; time comes as an argument.

The signature is HMAC-SHA256 over the file name and the expiry (RFC 2104), in URL-safe base64 without padding.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from imagineo import errors
from imagineo.settings import Secret

_EXPIRES: Final = re.compile(r"[0-9]{1,12}")
_ASK_AGAIN: Final = "Read the generation again for a fresh one."


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL and the Unix second at which it stops working."""

    url: str
    expires_at_s: int


class UrlSigner:
    """Signs and verifies. All gateways of one platform share the key."""

    def __init__(self, key: Secret, ttl_s: int) -> None:
        self._key = key.reveal().encode()
        self._ttl_s = ttl_s

    def sign(self, public_url: str, name: str, now_s: float) -> SignedUrl:
        """A URL of the image `name`, such as `gen_….png`, that works from now for the time to live."""
        expires_at_s = int(now_s) + self._ttl_s
        signature = self._signature(name, str(expires_at_s))
        url = f"{public_url}/images/{quote(name)}?expires={expires_at_s}&signature={signature}"
        return SignedUrl(url, expires_at_s)

    def verify(self, name: str, expires: str, signature: str, now_s: float) -> int:
        """The expiry of a URL in Unix seconds, if it was signed here for this name and is still good.

        Raises:
            PermissionDenied: otherwise.
        """
        # Compared as bytes: a str with anything but ASCII in it would raise.
        genuine = hmac.compare_digest(self._signature(name, expires).encode(), signature.encode("utf-8", "replace"))
        if not genuine or _EXPIRES.fullmatch(expires) is None:
            raise errors.PermissionDenied(f"The image link's signature is missing or wrong. {_ASK_AGAIN}")
        if int(expires) <= now_s:
            raise errors.PermissionDenied(f"The image link has expired. {_ASK_AGAIN}")
        return int(expires)

    def _signature(self, name: str, expires: str) -> str:
        message = f"{name}\n{expires}".encode("utf-8", "replace")
        return base64.urlsafe_b64encode(hmac.digest(self._key, message, hashlib.sha256)).rstrip(b"=").decode()
