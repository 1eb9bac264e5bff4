from __future__ import annotations

import pytest

from services.auth.admission import NO_ORGANIZATION
from services.auth.throttle import of_address, of_log_in


def test_an_ipv6_customer_is_bounded_as_one_and_strangers_apart():
    [one], [neighbour], [other] = (
        of_address("log-in", text) for text in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1")
    )
    assert one.subject == neighbour.subject != other.subject


@pytest.mark.parametrize(
    ("address", "dressed"),
    [
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("10.0.0.1", "10.0.0.1:5000"),
        ("10.0.0.1", "[::ffff:10.0.0.1]:5000"),
        ("2001:db8::1", "[2001:db8::1]:443"),
        ("2001:db8::1", "[2001:db8::1]"),
    ],
)
def test_an_address_is_one_in_whatever_dress_it_comes(address, dressed):
    assert of_address("log-in", dressed) == of_address("log-in", address)
    assert of_address("log-in", dressed) != of_address("log-in", "::ffff:10.0.0.2")


@pytest.mark.parametrize("address", ["", "unix", "10.0.0.1"])
def test_an_address_that_is_unknown_or_odd_is_no_error(address):
    assert len(of_address("log-in", address)) == (1 if address else 0)


def test_a_known_address_is_free_of_the_accounts_bound_and_no_address_is_stored_in_clear():
    bounds = of_log_in("ada@example.org", "10.0.0.1", is_known=False)
    known = of_log_in("ada@example.org", "10.0.0.1", is_known=True)
    assert {bound.kind for bound in known} == {"log-in.pair"}
    assert {bound.kind for bound in bounds} - {bound.kind for bound in known} == {"log-in.account"}
    assert all(bound.subject.startswith(NO_ORGANIZATION) and "@" not in bound.subject for bound in bounds)
