"""Signed image URLs: caching, ranges, and what a changed URL gets."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.platform import Platform


@pytest.fixture(scope="module")
def drawn(platform: Platform) -> dict[str, Any]:
    with platform.account() as account:
        return account.draw()


def fetch(url: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(url, headers=named, trust_env=False)


def test_a_known_etag_is_answered_without_the_bytes(drawn: dict[str, Any]) -> None:
    first = fetch(drawn["image_url"])

    again = fetch(drawn["image_url"], If_None_Match=first.headers["etag"])

    assert again.status_code == 304
    assert again.content == b""
    assert fetch(drawn["image_url"], If_None_Match='"another"').status_code == 200


def test_a_range_is_answered_with_that_part(drawn: dict[str, Any]) -> None:
    whole = fetch(drawn["image_url"]).content

    head, tail = fetch(drawn["image_url"], Range="bytes=0-9"), fetch(drawn["image_url"], Range="bytes=-7")

    assert (head.status_code, head.content) == (206, whole[:10])
    assert head.headers["content-range"] == f"bytes 0-9/{len(whole)}"
    assert (tail.status_code, tail.content) == (206, whole[-7:])
    assert fetch(drawn["image_url"], Range=f"bytes={len(whole)}-").status_code == 416


def test_a_url_that_was_changed_gives_no_picture(drawn: dict[str, Any]) -> None:
    url = httpx.URL(drawn["image_url"])
    later = url.copy_set_param("expires", str(int(url.params["expires"]) + 60))
    last = url.params["signature"][-2]
    forged = url.copy_set_param(
        "signature", url.params["signature"][:-2] + ("A" if last != "A" else "B") + url.params["signature"][-1]
    )
    other = url.copy_with(path=url.path.replace(drawn["run_id"], "gen_01h2xcejqtf2nbrexx3vqjhp41"))

    for changed in (later, forged, other, url.copy_with(query=None)):
        answer = fetch(str(changed))
        assert answer.status_code == 403, changed
        assert answer.json()["error"]["code"] == "permission_denied"


def test_head_tells_length_and_type(drawn: dict[str, Any]) -> None:
    answer = httpx.head(drawn["image_url"], trust_env=False)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert int(answer.headers["content-length"]) == drawn["image"]["bytes"]
