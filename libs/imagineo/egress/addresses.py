"""Which addresses a request may leave for: those of the public internet and nothing else. Pure.

A form that carries an IPv4 address inside IPv6 is judged by what it carries where a public network still uses it
(mapped, NAT64), and refused where none does (6to4, Teredo, compatible). Sources: RFC 6890 and IANA's special-purpose
address registries, RFC 4291, RFC 6052, RFC 8215.
"""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_V4_REFUSED: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; some clouds' metadata
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; some clouds' metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "168.63.129.16/32",  # a cloud's host agent, inside its public range
    )
)
#: Only what is handed out to the public internet; everything else is private, reserved or a transition form.
_V6_PUBLIC: Final = ipaddress.IPv6Network("2000::/3")
_V6_REFUSED: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def carried(address: Address) -> Address:
    """The IPv4 address inside a mapped or NAT64 one; any other as it is."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_allowed(address: Address, *, allow_loopback: bool = False) -> bool:
    """Tell whether a request may leave for the address; `allow_loopback` is for development on one machine."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return False
    inner = carried(address)
    if inner.is_loopback:
        return allow_loopback
    if isinstance(inner, ipaddress.IPv4Address):
        return not any(inner in network for network in _V4_REFUSED)
    return inner in _V6_PUBLIC and not any(inner in network for network in _V6_REFUSED)


def parse(text: str) -> Address | None:
    """Read an address as resolvers give it: canonical, without brackets; None for anything else."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
