"""Uploads in status: noted, read by their owner alone, deleted in time with their picture."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from imagineo import errors
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.ids import new_id
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.v1 import generation_pb2, upload_pb2, upload_service_pb2_grpc
from imagineo.v1 import upload_service_pb2 as pb

from services.status.repository.uploads import Uploads
from services.status.upload_shelf import UploadShelf, store_key
from tests.integration.status.conftest import serving

pytestmark = pytest.mark.integration


@pytest.fixture
async def shelf(status_dsn, nats, tmp_path):
    """Ask the service as a gateway does."""
    async with serving(status_dsn, nats.url, tmp_path) as port:
        channel = connect(f"127.0.0.1:{port}")
        stub = upload_service_pb2_grpc.UploadServiceStub(channel)

        async def ask(request):
            return await call(getattr(stub, type(request).__name__.removesuffix("Request")), request, timeout_s=10)

        yield ask
        await channel.close(None)


@pytest.fixture
async def blobs(tmp_path):
    one = ObstoreBlobs.from_url(f"file://{tmp_path}")
    yield one
    await one.close()


@pytest.fixture
async def database(status_dsn):
    one = await Database.open(status_dsn, application_name="test")
    yield one
    await one.close()


def upload_of(organization="org_1", upload_id=""):
    upload_id = upload_id or new_id("up")
    image = generation_pb2.Image(
        store_key=store_key(organization, upload_id), width=96, height=64, size_bytes=3, sha256="a" * 64
    )
    return upload_pb2.Upload(
        upload_id=upload_id,
        organization_id=organization,
        key_id="key_1",
        format=upload_pb2.UPLOAD_FORMAT_JPEG,
        size_bytes=9,
        sha256="b" * 64,
        image=image,
    )


async def test_an_upload_is_read_as_it_was_noted_with_its_times(shelf):
    sent = upload_of()
    made = (await shelf(pb.CreateUploadRequest(upload=sent))).upload
    read = (await shelf(pb.GetUploadRequest(organization_id="org_1", upload_id=sent.upload_id))).upload
    assert made == read
    assert read.expires_at.seconds - read.created_at.seconds == 30 * 86_400
    assert abs(read.created_at.ToDatetime(tzinfo=UTC) - datetime.now(UTC)) < timedelta(seconds=60)
    read.ClearField("created_at")
    read.ClearField("expires_at")
    assert read == sent


async def test_a_repeated_note_changes_nothing_and_anothers_id_is_refused(shelf):
    sent = upload_of()
    first = await shelf(pb.CreateUploadRequest(upload=sent))
    assert await shelf(pb.CreateUploadRequest(upload=sent)) == first
    with pytest.raises(errors.AlreadyExists):
        await shelf(pb.CreateUploadRequest(upload=upload_of("org_2", sent.upload_id)))


async def test_strangers_and_unknown_ids_are_told_the_same(shelf):
    sent = upload_of()
    await shelf(pb.CreateUploadRequest(upload=sent))
    for owner, upload_id in [("org_2", sent.upload_id), ("org_1", new_id("up")), ("org_1", "up_\0"), ("", "")]:
        for request in (pb.GetUploadRequest, pb.DeleteUploadRequest):
            with pytest.raises(errors.NotFound, match="There is no such upload"):
                await shelf(request(organization_id=owner, upload_id=upload_id))


@pytest.mark.parametrize(
    ("param", "spoil"),
    [
        ("upload_id", {"upload_id": "up_1"}),
        ("organization_id", {"organization_id": "../x"}),
        ("image.store_key", {"image": generation_pb2.Image(store_key="images/org_1/a.png", width=1, height=1)}),
        ("image", {"image": generation_pb2.Image(width=-96)}),
    ],
)
async def test_what_can_be_no_upload_is_refused(shelf, param, spoil):
    upload = upload_of()
    upload.MergeFrom(upload_pb2.Upload(**spoil))
    with pytest.raises(errors.InvalidParameter) as refused:
        await shelf(pb.CreateUploadRequest(upload=upload))
    assert refused.value.metadata["param"] == param


async def test_a_deleted_upload_is_gone_with_its_picture(shelf, blobs):
    sent = upload_of()
    await shelf(pb.CreateUploadRequest(upload=sent))
    await blobs.put(sent.image.store_key, b"png", content_type="image/png")
    names = {"organization_id": "org_1", "upload_id": sent.upload_id}
    await shelf(pb.DeleteUploadRequest(**names))
    assert await blobs.head(sent.image.store_key) is None
    with pytest.raises(errors.NotFound):
        await shelf(pb.GetUploadRequest(**names))


async def test_what_is_past_its_time_is_gone_at_once_and_swept_with_its_picture(shelf, database, blobs):
    old, young = upload_of(), upload_of()
    for upload in (old, young):
        await shelf(pb.CreateUploadRequest(upload=upload))
        await blobs.put(upload.image.store_key, b"png", content_type="image/png")
    await database.execute(
        "UPDATE status.uploads SET expires_at = now() - interval '1 second' WHERE upload_id = $1", old.upload_id
    )
    with pytest.raises(errors.NotFound):
        await shelf(pb.GetUploadRequest(organization_id="org_1", upload_id=old.upload_id))
    sweeper = UploadShelf(Uploads(database), blobs, 30)
    assert await sweeper.forget() == 1
    assert await blobs.list("uploads/org_1") == [young.image.store_key]
    assert await database.fetchval("SELECT count(*) FROM status.uploads") == 1
