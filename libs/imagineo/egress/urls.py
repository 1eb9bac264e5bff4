"""URLs that a client names as a receiver: read once, by one grammar, into the parts that a connection is made of. Pure.

The grammar is narrower than a browser's, so that nothing can be read in two ways: no user, no fragment, no backslash,
ASCII only, IPv4 as four decimal numbers. What a name resolves to is judged where the connection is made.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from imagineo.egress import addresses
from imagineo.errors import InvalidParameter

MAX_CHARACTERS: Final = 2048

_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:/[!$&-;=?-Z_a-z~%@]*)?(?:\?[!$&-;=?-Z_a-z~%@]*)?)",
    re.IGNORECASE,
)
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: A host that ends in a number is an address to those who read it kindly: 127.1, 0x7f.1, 2130706433.
_ENDS_IN_NUMBER: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")
#: Names that never leave a machine, a house or a cluster.
_INWARD: Final = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "arpa", "svc")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Reach:
    """How far requests may go, as the operator says."""

    allow_loopback: bool = False
    """For development on one machine: receivers may listen on it, and speak http."""
    ports: tuple[int, ...] = ()
    """The ports that whatever guards the way out lets through; empty: all."""


#: Of a platform whose operator says nothing.
PUBLIC: Final = Reach()


@dataclass(frozen=True, slots=True)
class Receiver:
    """The parts of a URL."""

    scheme: str
    host: str
    """A name in lower case, or an address without brackets."""
    port: int
    target: str
    """Path and query, never empty."""

    @property
    def authority(self) -> str:
        """The header Host."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == _DEFAULT_PORTS[self.scheme] else f"{shown}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: whom one is connected to."""
        return f"{self.scheme}://{self.authority}"


def read(param: str, url: str, reach: Reach = PUBLIC) -> Receiver:
    """Read a receiver's URL.

    Raises:
        InvalidParameter: naming `param`, if it is not such a URL, or names a place or a port that is out of reach.
    """
    allow_loopback = reach.allow_loopback
    found = _URL.fullmatch(url) if len(url) <= MAX_CHARACTERS else None
    if found is None or _PERCENT.search(found["target"]):
        raise _refusal(param, allow_loopback)
    scheme, port = found["scheme"].lower(), int(found["port"] or _DEFAULT_PORTS[found["scheme"].lower()])
    host = found["host"].lower()
    if (scheme == "http" and not allow_loopback) or not 1 <= port <= 65_535:
        raise _refusal(param, allow_loopback)
    if reach.ports and port not in reach.ports:
        raise InvalidParameter.of(param, f"a URL with a port that this platform may call: {_listed(reach.ports)}")
    address = _address(param, host, allow_loopback)
    if address is not None:
        if not addresses.is_allowed(address, allow_loopback=allow_loopback):
            raise InvalidParameter.of(param, "a URL of a public address")
        host = str(address)
    elif not _is_public_name(host) and not (allow_loopback and host == "localhost"):
        raise InvalidParameter.of(param, "a URL with the full public name of a host")
    target = found["target"] if found["target"].startswith("/") else "/" + found["target"]
    return Receiver(scheme, host, port, target)


def _address(param: str, host: str, allow_loopback: bool) -> addresses.Address | None:
    """The address that the host spells, or None for a name."""
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1])
        if _ENDS_IN_NUMBER.search(host):
            return ipaddress.IPv4Address(host)
    except ValueError as problem:
        raise _refusal(param, allow_loopback) from problem
    return None


def _listed(ports: tuple[int, ...]) -> str:
    return ", ".join(map(str, sorted(ports)))


def _is_public_name(host: str) -> bool:
    labels = host.split(".")
    return len(labels) > 1 and labels[-1] not in _INWARD and all(_LABEL.fullmatch(label) for label in labels)


def _refusal(param: str, allow_loopback: bool) -> InvalidParameter:
    scheme = "an https (or, in development, http)" if allow_loopback else "an https"
    allowed = (
        f"{scheme} URL of at most {MAX_CHARACTERS} ASCII characters with a host, no user, no password and no fragment; "
        "an IPv4 address is four decimal numbers"
    )
    return InvalidParameter.of(param, allowed)
