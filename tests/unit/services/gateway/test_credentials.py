"""What lets a request in: keys, sessions, and the proof that no other site asks for a change."""

from __future__ import annotations

import pytest
from imagineo import errors, keys, tokens
from starlette.datastructures import Headers

from services.gateway.credentials import presented

KEY = keys.new_secret()
TOKEN = tokens.new_token()
CSRF = tokens.csrf_token(TOKEN)
URL = "https://images.example.org"
COOKIE = {"cookie": f"theme=dark; __Host-imagineo_session={TOKEN}", "host": "images.example.org"}


def shown(method: str = "POST", **headers: str):
    return presented(Headers({name.replace("_", "-"): value for name, value in headers.items()}), method, URL)


@pytest.mark.parametrize("headers", [{"x_api_key": KEY}, {"authorization": f"Bearer {KEY}"}])
def test_a_key_is_taken_and_goes_before_a_session(headers):
    found = shown(**headers, **COOKIE)
    assert (found.key_sha256, found.session_sha256) == (keys.digest(KEY), b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_session_reads_without_more(method):
    assert shown(method, **COOKIE).session_sha256 == tokens.digest(TOKEN)


def test_by_http_the_session_has_its_plain_name():
    headers = Headers({"cookie": f"imagineo_session={TOKEN}"})
    assert presented(headers, "GET", "http://127.0.0.1:8000").session_sha256 == tokens.digest(TOKEN)


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_csrf_token": "0" * 64},
        {"x_csrf_token": tokens.csrf_token(tokens.new_token())},
        {"x_csrf_token": "é"},
        {"x_csrf_token": CSRF, "origin": "https://evil.example.org"},
        {"x_csrf_token": CSRF, "origin": "null"},
        {"x_csrf_token": CSRF, "sec_fetch_site": "cross-site"},
        {"x_csrf_token": CSRF, "sec_fetch_site": "same-site"},
    ],
)
def test_a_change_without_proof_is_refused(method, headers):
    with pytest.raises(errors.InvalidCsrfToken):
        shown(method, **headers, **COOKIE)


@pytest.mark.parametrize(
    "headers", [{}, {"origin": URL}, {"origin": URL, "sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}]
)
def test_a_change_with_proof_is_taken(headers):
    assert shown(x_csrf_token=CSRF, **headers, **COOKIE).session_sha256 == tokens.digest(TOKEN)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({}, errors.MissingApiKey),
        ({"cookie": "theme=dark"}, errors.MissingApiKey),
        ({"cookie": "__Host-imagineo_session=short"}, errors.InvalidSession),
        ({"cookie": f"imagineo_session={TOKEN}"}, errors.MissingApiKey),  # what a neighbour in the domain may set
        ({"x_api_key": "imag_short", **COOKIE}, errors.InvalidApiKey),
    ],
)
def test_what_cannot_be_a_credential_is_refused(headers, problem):
    with pytest.raises(problem):
        shown("GET", **headers)
