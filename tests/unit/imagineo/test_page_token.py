"""Page tokens: read back by whoever they were made for, refused otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo import page_token
from imagineo.errors import InvalidParameter
from imagineo.ids import new_id

LAST = new_id("model")


def refused(organization_id, token, prefix="model"):
    with pytest.raises(InvalidParameter, match="page_token"):
        page_token.decode(organization_id, token, prefix)


def test_a_token_is_read_back_by_its_organization_and_list_alone():
    token = page_token.encode("org_a", LAST)
    assert page_token.decode("org_a", token, "model") == LAST
    refused("org_b", token)
    refused("org_a", token, "gen")


@given(st.text(max_size=80))
def test_an_invented_token_is_refused(text):
    refused("org_a", text)


@given(st.integers(0), st.characters(max_codepoint=127))
def test_a_changed_token_is_refused(position, character):
    token = page_token.encode("org_a", LAST)
    position %= len(token)
    forged = token[:position] + character + token[position + 1 :]
    if forged != token:
        refused("org_a", forged)
