"""LoRAs that organizations upload, change, share and delete: on real Postgres, a folder and a real S3 server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pickle
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from imagineo import errors
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.ids import new_id
from imagineo.postgres.migrations import migrate
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call, call_with_stream
from imagineo.rpc.server import RpcServer
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import catalog_service_pb2_grpc, error_reason_pb2, model_pb2
from imagineo.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server

from services.catalog import app
from services.catalog.base_modules import BaseModulesReader
from services.catalog.repository import CatalogRepository
from services.catalog.seeding import Seeder
from services.catalog.servicer import CatalogServicer
from services.catalog.shelf import Shelf
from services.catalog.uploads import PER_ORGANIZATION_COUNT, LoraUploads
from tests.support import lora_files
from tests.support.deadlines import SURELY_S
from tests.support.object_store import S3Server, s3_server

pytestmark = pytest.mark.integration

MIGRATIONS = Path(app.__file__).parent / "migrations"
OWNER, FRIEND, STRANGER = (new_id("org") for _ in range(3))
LIMIT_BYTES = 1 << 20
SHAPES = lora_files.peft_shapes()
FILE = lora_files.lora(SHAPES)


@dataclass
class Catalog:
    stub: Any
    shelf: Shelf
    blobs: ObstoreBlobs
    database: Database
    folder: Path
    base: model_pb2.BaseModel
    drafts: dict[str, Any] = field(default_factory=dict)

    async def upload(
        self, content: bytes = FILE, *, organization_id: str = OWNER, piece_bytes: int = 100, **fields: Any
    ) -> model_pb2.Lora:
        async def requests() -> AsyncIterator[pb.CreateLoraRequest]:
            yield pb.CreateLoraRequest(opening=pb.CreateLoraOpening(organization_id=organization_id))
            for start in range(0, len(content), piece_bytes):
                yield pb.CreateLoraRequest(chunk=content[start : start + piece_bytes])
            yield pb.CreateLoraRequest(draft=self.draft(**fields))

        return (await call_with_stream(self.stub.CreateLora, requests(), timeout_s=20)).lora

    def draft(self, **fields: Any) -> pb.LoraDraft:
        found = {"name": "Mine", "base_model_id": self.base.base_model_id, "sharing": model_pb2.SHARING_PRIVATE}
        return pb.LoraDraft(**found | fields)

    async def update(self, lora: model_pb2.Lora, organization_id: str = OWNER, **fields: Any) -> model_pb2.Lora:
        request = pb.UpdateLoraRequest(organization_id=organization_id, model_id=lora.model_id, **fields)
        return (await call(self.stub.UpdateLora, request, timeout_s=5)).lora

    async def delete(self, lora: model_pb2.Lora, organization_id: str = OWNER) -> None:
        request = pb.DeleteLoraRequest(organization_id=organization_id, model_id=lora.model_id)
        await call(self.stub.DeleteLora, request, timeout_s=5)

    async def resolves(self, lora: model_pb2.Lora, organization_id: str) -> bool:
        request = pb.ResolveRequest(organization_id=organization_id, model_id=lora.model_id)
        answer = await call(self.stub.Resolve, request, timeout_s=5)
        assert not answer.HasField("error") or answer.error.reason == error_reason_pb2.ERROR_REASON_MODEL_NOT_FOUND
        return not answer.HasField("error")

    async def listed(self, organization_id: str = OWNER, **filters: Any) -> list[str]:
        request = pb.ListLorasRequest(organization_id=organization_id, **filters)
        return [lora.name for lora in (await call(self.stub.ListLoras, request, timeout_s=5)).loras]

    def spooled(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]

    async def until_spooled(self, count: int) -> None:
        """Wait until so many files are on the local disk; they announce themselves nowhere."""
        async with asyncio.timeout(SURELY_S):
            while len(self.spooled()) != count:  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def files(self) -> list[str]:
        return await self.blobs.list("loras")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@contextlib.asynccontextmanager
async def serving(dsn: str, tmp_path: Path, blobs: ObstoreBlobs, **changes: Any) -> AsyncIterator[Catalog]:
    await asyncio.to_thread(migrate, dsn, "catalog", MIGRATIONS)
    database = await Database.open(dsn, application_name="catalog", max_size=4)
    repository = CatalogRepository(database)
    shelf, modules, folder = Shelf(repository, blobs), BaseModulesReader(blobs), tmp_path / "spool"
    uploads = LoraUploads(repository, shelf, modules, folder=folder, limit_bytes=LIMIT_BYTES, **changes)
    uploads.remove_leftovers()
    server = RpcServer("127.0.0.1:0")
    server.add(add_CatalogServiceServicer_to_server, CatalogServicer(repository, uploads), app.SERVICE_NAME)
    channel = connect(f"127.0.0.1:{await server.start()}")
    base, _ = await Seeder(repository, blobs).seed(lora_files.write_starter(tmp_path / "starter", loras=0))
    try:
        stub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        yield Catalog(stub, shelf, blobs, database, folder, base)
    finally:
        await channel.close()
        await server.drain(0)
        await database.close()


@pytest.fixture(params=["folder", "s3"])
async def catalog(request: pytest.FixtureRequest, dsn: str, tmp_path: Path) -> AsyncIterator[Catalog]:
    if request.param == "s3":
        blobs = request.getfixturevalue("s3").blobs()
        for key in await blobs.list("loras"):
            await blobs.delete(key)
    else:
        blobs = ObstoreBlobs.from_url((tmp_path / "store").as_uri())
    async with serving(dsn, tmp_path, blobs) as catalog:
        yield catalog


@pytest.fixture
async def plain(dsn: str, tmp_path: Path) -> AsyncIterator[Catalog]:
    async with serving(dsn, tmp_path, ObstoreBlobs.from_url((tmp_path / "store").as_uri())) as catalog:
        yield catalog


async def test_an_upload_is_stored_with_what_its_check_found(catalog: Catalog):
    run_id = new_id("gen")
    lora = await catalog.upload(
        name="Mug", description="Mugs.", trigger_words=["mug", "cup"], sample_run_id=run_id, piece_bytes=7
    )
    digest = hashlib.sha256(FILE).hexdigest()
    assert (lora.organization_id, lora.name, lora.description, list(lora.trigger_words)) == (
        *(OWNER, "Mug", "Mugs.", ["mug", "cup"]),
    )
    assert (lora.file.sha256, lora.file.size_bytes, lora.sample_run_id) == (digest, len(FILE), run_id)
    assert (lora.naming, lora.rank, list(lora.check.ranks), lora.check.matched_keys) == ("peft", 4, [4], 2)
    assert await catalog.blobs.get(lora.file.store_key) == FILE
    assert catalog.spooled() == []
    found = await call(
        catalog.stub.GetLora, pb.GetLoraRequest(organization_id=OWNER, model_id=lora.model_id), timeout_s=5
    )
    assert found.lora == lora
    assert await catalog.resolves(lora, OWNER)


async def test_the_same_file_is_stored_once_and_goes_with_the_last_lora_of_it(catalog: Catalog):
    one, two = await catalog.upload(name="One"), await catalog.upload(name="Two", organization_id=FRIEND)
    assert one.model_id != two.model_id
    assert await catalog.files() == [one.file.store_key]
    await catalog.delete(one)
    assert await catalog.shelf.sweep(0.0) == 0
    assert await catalog.files() == [one.file.store_key]
    await catalog.delete(two, FRIEND)
    assert await catalog.shelf.sweep(3_600) == 0  # runs that were accepted before still find it
    assert await catalog.shelf.sweep(0.0) == 1
    assert await catalog.files() == []
    assert await catalog.shelf.sweep(0.0) == 0


async def test_a_file_that_no_row_came_to_name_is_swept(plain: Catalog, tmp_path: Path):
    lora = await plain.upload()
    await plain.database.execute("DELETE FROM catalog.loras")  # as if the process had died before its row
    assert await plain.files() == [lora.file.store_key]
    assert await plain.shelf.sweep(0.0) == 1
    assert await plain.files() == []


async def test_uploads_and_sweeps_of_one_file_at_once_leave_no_row_without_its_file(plain: Catalog):
    async def come_and_go(number: int) -> None:
        for _ in range(5):
            lora = await plain.upload(name=f"L{number}", organization_id=new_id("org"))
            await plain.delete(lora, lora.organization_id)

    async def sweep() -> None:
        while True:
            await plain.shelf.sweep(0.0)

    sweeping = asyncio.create_task(sweep())
    await asyncio.gather(*(come_and_go(number) for number in range(3)))
    last = await plain.upload()
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert await plain.blobs.get(last.file.store_key) == FILE


NAN = lora_files.lora(SHAPES, fill=struct.pack("<e", float("nan")))
REFUSED = {
    "no file": (b"", errors.InvalidFile),
    "a pickle": (pickle.dumps({"a": list(range(1000))}), errors.InvalidFile),
    "a truncated file": (FILE[:-1], errors.InvalidFile),
    "a length of 2^63": (lora_files.safetensors({}, length=1 << 63), errors.InvalidFile),
    "NaN": (NAN, errors.InvalidFile),
    "another base": (lora_files.lora(lora_files.peft_shapes(side=320)), errors.LoraIncompatible),
    "too large": (FILE + bytes(LIMIT_BYTES), errors.BodyTooLarge),
}


@pytest.mark.parametrize(("content", "refusal"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_refused_file_leaves_nothing(plain: Catalog, content: bytes, refusal: type[errors.Refused]):
    with pytest.raises(refusal):
        await plain.upload(content, piece_bytes=100_000)
    assert await plain.listed() == []
    assert await plain.files() == []
    assert plain.spooled() == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"description": "x" * 2001}, "description"),
        ({"trigger_words": ["x"] * 17}, "trigger_words"),
        ({"trigger_words": [""]}, "trigger_words"),
        ({"sharing": model_pb2.SHARING_UNSPECIFIED}, "sharing"),
        ({"sharing": model_pb2.SHARING_ORGANIZATIONS}, "shared_with"),
        ({"sharing": model_pb2.SHARING_ORGANIZATIONS, "shared_organization_ids": ["org_1"]}, "shared_with"),
        ({"shared_organization_ids": [FRIEND]}, "shared_with"),
        ({"base_model_id": new_id("base")}, "base_model_id"),
    ],
)
async def test_an_unsound_draft_is_refused_by_field(plain: Catalog, fields: dict[str, Any], param: str):
    with pytest.raises(errors.Refused) as refusal:
        await plain.upload(**fields)
    assert refusal.value.metadata["param"] == param
    assert await plain.files() == []


async def test_an_upload_that_is_cut_off_leaves_nothing(plain: Catalog):
    begun = asyncio.Event()

    async def requests(*, ends: bool) -> AsyncIterator[pb.CreateLoraRequest]:
        yield pb.CreateLoraRequest(opening=pb.CreateLoraOpening(organization_id=OWNER))
        yield pb.CreateLoraRequest(chunk=FILE[:100])
        begun.set()
        if not ends:
            raise ConnectionError("the client has left")

    with pytest.raises(errors.InvalidFile, match="before the file was whole"):
        await call_with_stream(plain.stub.CreateLora, requests(ends=True), timeout_s=5)
    with pytest.raises(ConnectionError):
        await call_with_stream(plain.stub.CreateLora, requests(ends=False), timeout_s=5)
    await plain.until_spooled(0)
    assert await plain.upload()


async def test_an_organization_has_so_many_uploads_at_once(plain: Catalog):
    release = asyncio.Event()

    async def slow(organization_id: str, begun: asyncio.Event) -> model_pb2.Lora:
        async def requests() -> AsyncIterator[pb.CreateLoraRequest]:
            yield pb.CreateLoraRequest(opening=pb.CreateLoraOpening(organization_id=organization_id))
            yield pb.CreateLoraRequest(chunk=FILE)
            begun.set()
            await release.wait()
            yield pb.CreateLoraRequest(draft=plain.draft())

        return (await call_with_stream(plain.stub.CreateLora, requests(), timeout_s=20)).lora

    begun = [asyncio.Event() for _ in range(PER_ORGANIZATION_COUNT)]
    open_ones = [asyncio.create_task(slow(OWNER, event)) for event in begun]
    for event in begun:
        await event.wait()
    await plain.until_spooled(PER_ORGANIZATION_COUNT)
    with pytest.raises(errors.TooManyStreams, match="2 uploads"):
        await plain.upload()
    assert await plain.upload(organization_id=FRIEND)
    release.set()
    await asyncio.gather(*open_ones)
    assert await plain.upload()


async def test_a_silent_sender_is_let_go(dsn: str, tmp_path: Path):
    blobs = ObstoreBlobs.from_url((tmp_path / "store").as_uri())
    forever = asyncio.Event()

    async def requests() -> AsyncIterator[pb.CreateLoraRequest]:
        yield pb.CreateLoraRequest(opening=pb.CreateLoraOpening(organization_id=OWNER))
        await forever.wait()

    async with serving(dsn, tmp_path, blobs, silence_s=0.1) as catalog:
        upload = asyncio.create_task(call_with_stream(catalog.stub.CreateLora, requests(), timeout_s=20))
        await catalog.until_spooled(1)
        await catalog.until_spooled(0)
        forever.set()
        with pytest.raises(errors.Unavailable, match="Nothing came"):
            await upload


async def test_leftovers_of_a_killed_process_are_removed_once_they_are_old(plain: Catalog):
    old, fresh = (plain.folder / f"imagineo-lora-{name}" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    LoraUploads(None, None, None, folder=plain.folder, limit_bytes=1).remove_leftovers()  # type: ignore[arg-type]
    assert plain.spooled() == [fresh.name]


async def test_sharing_decides_who_sees_and_uses_a_lora(plain: Catalog):
    private = await plain.upload(name="Private")
    named = await plain.upload(name="Named", sharing=model_pb2.SHARING_ORGANIZATIONS, shared_organization_ids=[FRIEND])
    public = await plain.upload(name="Public", sharing=model_pb2.SHARING_PUBLIC)
    assert await plain.listed(OWNER) == ["Public", "Named", "Private"]
    assert await plain.listed(FRIEND) == ["Public", "Named"]
    assert await plain.listed(STRANGER) == ["Public"]
    for lora, who in ((private, (OWNER,)), (named, (OWNER, FRIEND)), (public, (OWNER, FRIEND, STRANGER))):
        for asker in (OWNER, FRIEND, STRANGER):
            assert await plain.resolves(lora, asker) == (asker in who), (lora.name, asker)
    request = pb.GetLoraRequest(organization_id=FRIEND, model_id=named.model_id)
    seen = (await call(plain.stub.GetLora, request, timeout_s=5)).lora
    assert list(named.shared_organization_ids) == [FRIEND]
    assert list(seen.shared_organization_ids) == []  # whom else it is shared with is the owner's to know


async def test_a_lora_that_is_unshared_or_deleted_resolves_no_more(plain: Catalog):
    lora = await plain.upload(sharing=model_pb2.SHARING_PUBLIC)
    assert await plain.resolves(lora, STRANGER)
    changed = await plain.update(lora, sharing=pb.SharingChange(sharing=model_pb2.SHARING_PRIVATE))
    assert changed.sharing == model_pb2.SHARING_PRIVATE
    assert not await plain.resolves(lora, STRANGER)
    assert await plain.resolves(lora, OWNER)
    await plain.delete(lora)
    assert not await plain.resolves(lora, OWNER)
    with pytest.raises(errors.NotFound):
        await plain.delete(lora)


async def test_a_change_changes_what_it_names(plain: Catalog):
    lora = await plain.upload(name="Old", description="d", trigger_words=["a"])
    renamed = await plain.update(lora, name="New")
    assert (renamed.name, renamed.description, list(renamed.trigger_words)) == ("New", "d", ["a"])
    emptied = await plain.update(lora, description="", trigger_words=pb.TriggerWords(words=[]))
    assert (emptied.name, emptied.description, list(emptied.trigger_words)) == ("New", "", [])
    with pytest.raises(errors.InvalidParameter, match="name"):
        await plain.update(lora, name="")


async def test_only_the_owner_changes_and_deletes(plain: Catalog, tmp_path: Path):
    path = tmp_path / "p.safetensors"
    path.write_bytes(FILE)
    private, public = await plain.upload(), await plain.upload(sharing=model_pb2.SHARING_PUBLIC)
    seeder = Seeder(CatalogRepository(plain.database), plain.blobs)
    platforms = (await seeder.seed(lora_files.write_starter(tmp_path / "starter"), with_unshared=True))[1][0]
    for lora, refusal in (
        (private, errors.NotFound),
        (public, errors.PermissionDenied),
        (platforms, errors.PermissionDenied),
    ):
        for asker in (STRANGER, *([""] if lora is platforms else [])):
            with pytest.raises(refusal):
                await plain.update(lora, asker, name="Stolen")
            with pytest.raises(refusal):
                await plain.delete(lora, asker)
    assert "Stolen" not in await plain.listed(OWNER)


async def test_a_list_is_filtered_by_base_sharing_and_text(plain: Catalog):
    await plain.upload(name="50% Blue_mug", trigger_words=["Steam"])
    await plain.upload(name="Chair", description="An office chair\nin wood", sharing=model_pb2.SHARING_PUBLIC)
    assert await plain.listed(text="blue_") == ["50% Blue_mug"]
    assert await plain.listed(text="steam") == ["50% Blue_mug"]
    assert await plain.listed(text="0%") == ["50% Blue_mug"]
    assert await plain.listed(text="_") == ["50% Blue_mug"]
    assert await plain.listed(text="OFFICE") == ["Chair"]
    assert await plain.listed(text="\\") == []
    assert await plain.listed(sharing=model_pb2.SHARING_PUBLIC) == ["Chair"]
    assert await plain.listed(sharing=model_pb2.SHARING_ORGANIZATIONS) == []
    assert await plain.listed(base_model_id=plain.base.base_model_id) == ["Chair", "50% Blue_mug"]
    assert await plain.listed(base_model_id=new_id("base")) == []
    assert await plain.listed(STRANGER, text="mug") == []
    with pytest.raises(errors.InvalidParameter, match="text"):
        await plain.listed(text="x" * 101)
