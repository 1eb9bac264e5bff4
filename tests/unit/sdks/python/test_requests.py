from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from imagineo_client import Imagineo, MissingApiKeyError, WebhookVerificationError, verify_webhook
from imagineo_client.batching import body_of, pause_s
from imagineo_client.calls import spelled
from imagineo_client.environment import base_url
from imagineo_client.files import Form, check_writable, written_whole
from imagineo_client.sources import id_of, picture_of
from imagineo_client.types.answers import Batch
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_client_needs_a_key_before_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGINEO_API_KEY", raising=False)
    with pytest.raises(MissingApiKeyError, match="IMAGINEO_API_KEY"):
        Imagineo()
    monkeypatch.setenv("IMAGINEO_API_KEY", " k ")
    monkeypatch.setenv("IMAGINEO_URL", "https://pictures.example/v1/")
    assert Imagineo().base_url == "https://pictures.example"
    assert Imagineo(base_url="http://host:1/sub").base_url == "http://host:1/sub"
    for wrong in (
        "host:8000",
        "http://",
        "http://host:99999",
        "http://[bad",
        "http://me:secret@host",
        "http://host/?a=1",
    ):
        with pytest.raises(ValueError, match="http://"):
            base_url(wrong)
    for wrong in ("two words", "imag_é", "imag\n_x"):
        with pytest.raises(ValueError, match="visible ASCII"):
            Imagineo(wrong)


def test_queries_leave_out_what_is_not_said_and_name_a_zone() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    query = {"limit": 5, "cursor": None, "status": ["a", "b"], "from": date(2026, 1, 2), "created_after": moment}
    assert spelled(query) == {
        "limit": "5",
        "status": ["a", "b"],
        "from": "2026-01-02",
        "created_after": "2026-01-02T03:04:05+00:00",
    }
    assert spelled({"created_after": moment.replace(tzinfo=None)})["created_after"][-6] in "+-"


def test_a_batch_comes_from_exactly_one_of_three_forms(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text('\ufeff{"positive_prompt": "a"}\n\n{"positive_prompt": "b", "model_id": "m"}\n')
    body = body_of(None, file, None, None, {"name": "n", "metadata": None})
    assert body.content == {"name": "n", "items": [{"positive_prompt": "a"}, {"positive_prompt": "b", "model_id": "m"}]}
    assert body.needs_model
    assert body.with_model("usual").content["defaults"] == {"model_id": "usual"}
    assert not body_of(None, None, {"model_ids": ["m"]}, None, {}).needs_model
    assert not body_of([{"positive_prompt": "a", "model_id": "m"}], None, None, {"model_id": "x"}, {}).needs_model

    for items, sweep in ((None, None), ([], {})):
        with pytest.raises(ValueError, match="exactly one"):
            body_of(items, None, sweep, None, {})
    for text, said in ((b"{}\n{oops", "Line 2 is no JSON"), (b"[1]", "Line 1 is no JSON object"), (b" \n", "no lines")):
        with pytest.raises(ValueError, match=said):
            body_of(None, text, None, None, {})


@pytest.mark.parametrize(("left_s", "expected_s"), [(0, 1), (10, 1), (60, 3), (3600, 10)])
def test_a_batch_is_looked_at_often_while_it_is_short_and_seldom_while_it_is_long(
    left_s: int, expected_s: float
) -> None:
    assert pause_s(cast("Batch", SimpleNamespace(estimated_time=left_s))) == expected_s


def test_a_file_tells_its_progress_and_starts_anew_for_each_sending(tmp_path: Path) -> None:
    path, told = tmp_path / "a.safetensors", []
    path.write_bytes(b"x" * 100)
    form = Form(path, on_progress=lambda sent, total: told.append((sent, total)))
    for _ in range(2):
        file = form.opened()
        while file.read(40):
            pass
        file.close()
    assert told == [(40, 100), (80, 100), (100, 100)] * 2
    assert form.name == "a.safetensors"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), written_whole(tmp_path / "a.png") as file:  # noqa: PT012 - it fails amid writing
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with written_whole(tmp_path / "a.png") as file:
        file.write(b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"whole")]


def test_a_place_that_cannot_be_written_to_is_named_and_a_device_is_never_replaced(tmp_path: Path) -> None:
    full = Path("/dev/full")
    (tmp_path / "file").touch()
    for place, kind in (("absent/x", FileNotFoundError), ("file/x", NotADirectoryError), (".", IsADirectoryError)):
        with pytest.raises(kind) as told:
            check_writable(tmp_path / place)
        assert told.value.filename == str(tmp_path / place)
    check_writable(tmp_path / "x.png")
    check_writable(full)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), written_whole(full) as device:
        device.write(b"x")
    assert full.is_char_device()


def test_a_source_is_told_by_what_it_is() -> None:
    assert [id_of(source) for source in ("gen_1", "up_1", "picture.png", b"bytes", Path("x"))] == ["gen_1", "up_1"] + [
        None
    ] * 3
    with pytest.raises(TypeError, match="int"):
        picture_of(3)  # type: ignore[arg-type]


def test_only_the_secrets_own_fresh_signature_verifies() -> None:
    body = '{"type": "brand.new", "timestamp": "2026-11-23T07:00:00Z", "data": {}}'
    now = datetime.now(tz=UTC)
    signature = Webhook(SECRET).sign("evt_1", now, body)
    headers = {"Webhook-Id": "evt_1", "Webhook-Timestamp": str(int(now.timestamp())), "Webhook-Signature": signature}

    with pytest.raises(WebhookVerificationError):
        verify_webhook(body + " ", headers, SECRET)
    for changed in ({"Webhook-Id": "evt_2"}, {"Webhook-Timestamp": str(int(now.timestamp()) - 3600)}):
        with pytest.raises(WebhookVerificationError):
            verify_webhook(body, {**headers, **changed}, SECRET)
    for name in headers:
        with pytest.raises(WebhookVerificationError):
            verify_webhook(body, {other: value for other, value in headers.items() if other != name}, SECRET)
    for secret in ("whsec_" + "A" * 32, "not base64!", ""):
        with pytest.raises(WebhookVerificationError):
            verify_webhook(body, headers, secret)
