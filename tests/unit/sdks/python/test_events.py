from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import msgspec
import pytest
from imagineo_client import errors
from imagineo_client.answering import decoded, error_of
from imagineo_client.events import EventParser, Resumption, RunEvent
from imagineo_client.types.answers import Generation, GenerationStatus

PICTURE = b"RIFF....WEBPVP8 "


def generation(**changes: object) -> dict[str, object]:
    nothing = dict.fromkeys(["image_url", "image_url_expires_at", "queue_position", "waiting_for", "started_at"])
    nothing |= dict.fromkeys(["finished_at", "error", "image", "source", "replay", "batch_id"])
    parameters = {"positive_prompt": "a", "negative_prompt": "", "model_id": "m", "loras": [], "guidance": 5}
    parameters |= {"steps": 4, "seed": 1, "scheduler": "ddim", "output_format": "png", "width": 64, "height": 64}
    found = {"run_id": "gen_1", "status": "running", "progress": 5, "step": 1, "seed": 1, "model_id": "m"}
    found |= {"base_model_id": "b", "loras": [], "parameters": parameters, "estimated_time": 1, "attempts": 1}
    urls = {"self": "s", "events": "e", "cancel": "c"}
    return {**nothing, **found, "created_at": "2026-11-23T07:00:00Z", "metadata": {}, "urls": urls, **changes}


def block(kind: str, data: object, event_id: str = "") -> bytes:
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


PREVIEW = {"run_id": "gen_1", "step": 3, "steps": 9}
PREVIEW |= {"image": f"data:image/webp;base64,{base64.b64encode(PICTURE).decode()}"}
STREAM = (
    b"retry: 1500\n\n: still here\n\n"
    + block("snapshot", generation(status="queued", progress=0), "gen_1:1")
    + block("preview", PREVIEW)
    + block("something new", {})
    + block("status", generation(status="completed", progress=100), "gen_1:2")
)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_stream_is_the_same_however_it_is_cut_into_pieces(size: int, newline: bytes) -> None:
    parser, stream = EventParser(), STREAM.replace(b"\n", newline)

    found = [event for at in range(0, len(stream), size) for event in parser.feed(stream[at : at + size])]

    assert [event.type for event in found] == ["snapshot", "preview", "status"]
    assert [event.id for event in found] == ["gen_1:1", None, "gen_1:2"]
    assert found[1].preview == PICTURE
    assert (found[1].step, found[1].steps) == (3, 9)
    assert [event.is_over for event in found] == [False, False, True]
    assert parser.retry_s == 1.5


def test_half_an_event_is_none() -> None:
    assert list(EventParser().feed(block("status", generation(), "gen_1:2")[:-1])) == []


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    parser = EventParser()
    for _ in range(4):
        assert list(parser.feed(b"x" * 1_000_000)) == []
    with pytest.raises(errors.UnexpectedAnswerError):
        list(parser.feed(b"x" * 1_000_000))


def test_it_comes_back_after_the_last_id_a_few_times_and_anew_after_news() -> None:
    resumption = Resumption(None, max_retries=2, retry_s=2)
    broken = httpx.ReadError("cut")
    assert resumption.headers == {}
    resumption.note(RunEvent("gen_1:4", "progress", None))
    resumption.note(RunEvent(None, "preview", None))
    assert resumption.headers == {"Last-Event-ID": "gen_1:4"}

    assert 1 <= (resumption.pause_s(broken) or 0) <= 2
    assert 2 <= (resumption.pause_s(broken) or 0) <= 4
    assert resumption.pause_s(broken) is None
    resumption.note(RunEvent("gen_1:5", "progress", None))
    assert resumption.pause_s(broken) is not None
    assert resumption.pause_s(errors.NotFoundError("gone", status=404)) is None


def test_a_newer_servers_words_and_fields_are_read_all_the_same() -> None:
    found = decoded(json.dumps(generation(status="paused", colour="blue")).encode(), Generation, "it")

    assert found.status == "paused"
    assert f"{found.status} {found.status!r}" == "paused 'paused'"
    assert found.status is not GenerationStatus.completed
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(3, GenerationStatus)


def test_what_is_not_the_apis_is_said_so() -> None:
    with pytest.raises(errors.UnexpectedAnswerError, match="GET /v1/x"):
        decoded(b"<html>", Generation, "GET /v1/x")

    request = httpx.Request("GET", "http://host/v1/x")
    page = error_of(httpx.Response(502, content=b"<html>", request=request))
    assert type(page) is errors.ServerError
    unknown = {"error": {"code": "brand_new", "message": "No.", "request_id": "r"}}
    refusal = error_of(httpx.Response(404, json=unknown, headers={"Retry-After": "4"}, request=request))
    assert (type(refusal), refusal.code, refusal.retry_after_s) == (errors.NotFoundError, "brand_new", 4)


def test_the_package_is_typed() -> None:
    assert (Path(errors.__file__).parent / "py.typed").exists()
