"""Addresses that requests may leave for, and those they may not, in every form."""

import ipaddress

import pytest
from imagineo.egress.addresses import carried, is_allowed, parse

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_the_public_internet_is_refused(text):
    assert not is_allowed(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ALLOWED)
def test_public_addresses_are_let_out(text):
    assert is_allowed(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_development_opens_loopback(text):
    assert is_allowed(ipaddress.ip_address(text), allow_loopback=True)


@pytest.mark.parametrize("text", [text for text in REFUSED if "127." not in text and text != "::1"])
def test_development_opens_nothing_else(text):
    assert not is_allowed(ipaddress.ip_address(text), allow_loopback=True)


def test_all_that_the_standard_library_calls_special_is_refused():
    """The table is wider than the library's, never narrower: each edge of what it lists, and the address beyond."""
    networks = [
        *ipaddress.IPv4Address._constants._private_networks,
        *ipaddress.IPv6Address._constants._private_networks,
    ]
    for network in networks:
        for address in (network[0], network[-1]):
            if address.is_private and carried(address) == address:
                assert not is_allowed(address), address


def test_only_canonical_addresses_are_read():
    assert parse("127.0.0.1") is not None
    assert [parse(text) for text in ("127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "[::1]", "a")] == [None] * 6
