from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo import keys


def test_a_new_key_is_well_formed_and_new():
    made = {keys.new_secret() for _ in range(200)}
    assert len(made) == 200
    assert all(keys.is_well_formed(key) and len(key) == 54 and key.startswith("imag_") for key in made)


@given(place=st.integers(0, 53), letter=st.sampled_from("0aZ_- \u00e9\u0660"))
def test_one_wrong_character_is_noticed(place, letter):
    key = keys.new_secret()
    wrong = key[:place] + letter + key[place + 1 :]
    assert keys.is_well_formed(wrong) == (wrong == key)


@given(st.text(max_size=80))
def test_any_text_at_all_is_answered_with_no(text):
    assert not keys.is_well_formed(text)


@pytest.mark.parametrize("change", [str.upper, str.swapcase, lambda key: key + "\n", lambda key: key[:-1], str.title])
def test_near_keys_are_no_keys(change):
    assert not keys.is_well_formed(change(keys.new_secret()))


def test_the_checksum_is_the_crc32_of_what_stands_before():
    body = "imag_" + "0" * 43
    assert keys.is_well_formed(body + known_checksum(body))


def known_checksum(body: str) -> str:
    """CRC-32 bit by bit (polynomial 0xEDB88320), then base62 by repeated division."""
    crc = 0xFFFFFFFF
    for byte in body.encode():
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(alphabet[crc // 62**power % 62] for power in range(5, -1, -1))


def test_digest_and_prefix():
    key = keys.new_secret()
    assert keys.digest(key) == hashlib.sha256(key.encode()).digest()
    assert keys.prefix(key) == key[:9]
