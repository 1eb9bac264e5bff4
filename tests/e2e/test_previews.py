"""Previews over the whole platform: who asks sees the picture come, who does not sees what was there before."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from tests.e2e.test_events import followed
from tests.support.rest import Account


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX), np.float32)


def test_a_run_is_seen_to_come_nearer_to_its_picture(account: Account) -> None:
    run_id = account.submit(steps=50, width=512, height=512, output_format="png")

    found = list(followed(account, run_id, query="previews=true"))

    shown = [event for event in found if event["event"] == "preview"]
    assert all("id" not in event and event["data"]["run_id"] == run_id for event in shown)
    assert [event["data"]["step"] for event in shown] == sorted({event["data"]["step"] for event in shown})
    pictures = [base64.b64decode(event["data"]["image"].removeprefix("data:image/webp;base64,")) for event in shown]
    assert len(pictures) >= 2
    with Image.open(io.BytesIO(pictures[-1])) as last:
        assert (last.format, last.size) == ("WEBP", (last.width, last.width))
        assert last.width <= 256
    assert max(len(content) for content in pictures) <= 24 << 10
    assert (found[-1]["event"], found[-1]["data"]["status"]) == ("status", "completed")
    final = pixels(account.image(found[-1]["data"]))
    away = [float(np.abs(pixels(content) - final).mean()) for content in pictures]
    assert away[-1] < away[0]

    plain = list(followed(account, account.submit(steps=20)))
    assert {event["event"] for event in plain} <= {"snapshot", "status", "progress"}
