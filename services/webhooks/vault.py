"""Keeps signing secrets encrypted at rest: Fernet (AES-128-CBC with HMAC-SHA256) of the library `cryptography`.

They must be readable to sign with, so they cannot be hashed. Old keys stay in the list until every secret that they
encrypted was rotated.
"""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from imagineo.errors import Internal
from imagineo.settings import Secret


class Vault:
    """Encrypts with the first key, decrypts with any."""

    def __init__(self, keys: Secret) -> None:
        """Take keys with commas between.

        Raises:
            ValueError: if there is none, or one is no Fernet key.
        """
        self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.reveal().split(",")])

    def lock(self, secret: str) -> bytes:
        """Encrypt."""
        return self._fernet.encrypt(secret.encode())

    def unlock(self, locked: bytes) -> str:
        """Decrypt.

        Raises:
            Internal: if none of the keys did encrypt it.
        """
        try:
            return self._fernet.decrypt(locked).decode()
        except InvalidToken as problem:
            raise Internal("no key of SECRET_KEYS decrypts a signing secret") from problem
