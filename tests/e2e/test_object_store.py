"""The platform on a real S3 server: what clients bring, what is drawn of it, and what is erased lie there alone."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.support import platform as local
from tests.support.deadlines import SURELY_S
from tests.support.object_store import BUCKET, KEYS, S3Server, s3_server
from tests.support.pictures import encoded, scene
from tests.support.platform import Platform, eventually
from tests.support.rest import Account


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def on_s3(store: S3Server) -> Iterator[Platform]:
    url = f"s3://{BUCKET}/contract?endpoint=http://127.0.0.1:{store.port}&region=us-east-1"
    with pytest.MonkeyPatch.context() as environment:
        for name, value in KEYS.items():
            environment.setenv(f"AWS_{name.upper()}", value)
        with local.platform("--no-first-image", "--blobs", url) as running:
            yield running


def keys_in(store: S3Server, folder: str) -> list[str]:
    async def listed() -> list[str]:
        blobs = store.blobs()
        try:
            return await blobs.list(folder)
        finally:
            await blobs.close()

    return asyncio.run(listed())


def opened(account: Account, generation: dict[str, object]) -> Image.Image:
    image = Image.open(io.BytesIO(account.image(generation)))
    image.load()
    return image


def test_pictures_come_from_the_store_and_go_there(on_s3: Platform, store: S3Server) -> None:
    with on_s3.account() as account:
        upload_id = account.http.post("/v1/uploads", files={"file": encoded(scene())}).json()["upload_id"]
        drawn = account.draw()
        body = {"upload_id": upload_id, "model_id": account.lora(), "positive_prompt": "a mug", "steps": 4}
        varied = account.until(account.post("/v1/variations", body).json()["run_id"])
        large = account.until(account.post("/v1/upscales", {"upload_id": upload_id, "scale": 2}).json()["run_id"])

        assert [run["status"] for run in (varied, large)] == ["completed", "completed"], (varied, large)
        assert opened(account, large).size == (192, 128)
        assert opened(account, drawn).size == (64, 64)
        owner = account.organization_id
        assert keys_in(store, f"uploads/{owner}") == [f"uploads/{owner}/{upload_id}.png"]
        assert len(keys_in(store, f"images/{owner}")) == 3
        assert not (on_s3.data / "blobs" / "images").exists()

        assert account.http.delete(f"/v1/uploads/{upload_id}").status_code == 204
        assert account.http.delete(f"/v1/generations/{drawn['run_id']}").status_code == 204
        assert keys_in(store, f"uploads/{owner}") == []
        eventually(
            lambda: len(keys_in(store, f"images/{owner}")) == 2,
            within_s=SURELY_S,
            what="its picture goes",
        )
