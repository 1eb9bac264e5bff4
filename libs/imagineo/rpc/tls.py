"""Who this process is to its peers over gRPC: its certificate, its key, and the authority that vouches for everybody.

Certificates are renewed while processes run: the files are looked at again, and what they hold counts from the next
connection on. Without any of the three everything is plain, as on one machine.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import grpc
from prometheus_client import Gauge

from imagineo.errors import PermissionDenied
from imagineo.settings import SettingsError

log = logging.getLogger(__name__)

_EXPIRES: Final = Gauge(
    "imagineo_tls_certificate_expires_at_seconds", "Unix time at which the certificate in use ends.", ["role"]
)

#: Where gRPC says which names a peer's certificate bears.
_NAMES: Final = "x509_subject_alternative_name"
#: How often the files are looked at, at most.
_LOOK_S: Final = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """Settings of every program that speaks gRPC: PEM files; all three or none."""

    tls_certificate_file: str = ""
    """This program's certificate, those of intermediate authorities behind it."""
    tls_key_file: str = ""
    tls_authority_file: str = ""
    """The certificates of the authorities that all peers' certificates must come from."""
    tls_callers: tuple[str, ...] = ()
    """Names of which a caller's certificate must bear one; empty: the authorities vouch for everybody."""

    def __post_init__(self) -> None:
        given = [bool(self.tls_certificate_file), bool(self.tls_key_file), bool(self.tls_authority_file)]
        if any(given) and not all(given):
            raise ValueError("set all of TLS_CERTIFICATE_FILE, TLS_KEY_FILE and TLS_AUTHORITY_FILE, or none")

    def tls_identity(self) -> TlsIdentity | None:
        """Read the files; None where none are set.

        Raises:
            SettingsError: if they cannot be used.
        """
        if not self.tls_certificate_file:
            return None
        return TlsIdentity(
            Path(self.tls_certificate_file),
            Path(self.tls_key_file),
            authority=Path(self.tls_authority_file),
            callers=self.tls_callers,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Pems:
    """What the files held at one moment; the certificate and the key belong together."""

    certificate: bytes
    key: bytes
    authority: bytes
    expires_at_s: float


class TlsIdentity:
    """The three files as they stand. Any thread may ask."""

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        authority: Path,
        callers: Iterable[str] = (),
        look_s: float = _LOOK_S,
    ) -> None:
        self._callers = frozenset(callers)
        self._files = (certificate, key, authority)
        self._look_s = look_s
        self._lock = threading.Lock()
        self._looked_s = time.monotonic()
        try:
            self._seen = self._stamps()
            self._pems = self._read()
        except (OSError, ValueError) as problem:
            raise SettingsError(f"the TLS files cannot be used: {problem}") from problem
        self._show()

    def current(self) -> Pems:
        """Give what the files hold; what cannot be used is logged, and what was read before stays in use."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._looked_s >= self._look_s:
                self._looked_s = now_s
                self._look()
            return self._pems

    def admit(self, peer: Mapping[str, Iterable[bytes]]) -> None:
        """Check who calls by what gRPC says of its certificate.

        Raises:
            PermissionDenied: if it bears none of the callers' names.
        """
        names = {name.decode(errors="replace") for name in peer.get(_NAMES, ())}
        if self._callers and not names & self._callers:
            raise PermissionDenied(f"The certificate of {', '.join(sorted(names)) or 'nobody'} may not call here.")

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials of a server that lets in only who shows a certificate of the authority."""

        def configuration() -> grpc.ServerCertificateConfiguration:
            pems = self.current()
            return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authority)

        return grpc.dynamic_ssl_server_credentials(
            configuration(),
            configuration,  # asked for each connection
            require_client_authentication=True,
        )

    def _look(self) -> None:
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            self._pems, self._seen = self._read(), stamps
        except (OSError, ValueError) as problem:
            log.warning("renewed TLS files cannot be used yet: %s", problem)
            return
        log.info("the TLS files were renewed")
        self._show()

    def _stamps(self) -> list[tuple[int, int, int]]:
        found = [file.stat() for file in self._files]
        return [(entry.st_ino, entry.st_mtime_ns, entry.st_size) for entry in found]

    def _read(self) -> Pems:
        certificate, key, authority = (file.read_bytes() for file in self._files)
        return Pems(certificate, key, authority, _expiry_s(certificate, key, authority))

    def _show(self) -> None:
        _EXPIRES.labels("grpc").set(self._pems.expires_at_s)


def channel_credentials(pems: Pems) -> grpc.ChannelCredentials:
    """Credentials of a client: it shows its certificate, and checks the server's name against the server's."""
    return grpc.ssl_channel_credentials(pems.authority, pems.key, pems.certificate)


def _expiry_s(certificate: bytes, key: bytes, authority: bytes) -> float:
    """Check that the parts can be read and fit; give when the first certificate of ours ends.

    Raises:
        ValueError: if not, as while a renewal is half written.
    """
    # Late: a process without TLS does not pay for it.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    own = x509.load_pem_x509_certificates(certificate)
    x509.load_pem_x509_certificates(authority)
    public = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    of_key = serialization.load_pem_private_key(key, None).public_key().public_bytes(*public)
    if own[0].public_key().public_bytes(*public) != of_key:
        raise ValueError("the key is not the certificate's")
    return min(one.not_valid_after_utc.timestamp() for one in own)
