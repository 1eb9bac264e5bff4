"""The catalog on real Postgres and a folder store, asked through its real gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from imagineo import errors
from imagineo.blobs.obstore import ObstoreBlobs
from imagineo.ids import new_id
from imagineo.postgres.migrations import migrate
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.rpc.server import RpcServer
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import catalog_service_pb2_grpc, error_reason_pb2, model_pb2
from imagineo.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server

from services.catalog import app
from services.catalog.repository import CatalogRepository
from services.catalog.seeding import LoraEntry, Seeder
from services.catalog.servicer import CACHE_S, CatalogServicer
from tests.support import lora_files

pytestmark = pytest.mark.integration

MIGRATIONS = Path(app.__file__).parent / "migrations"


@dataclass
class Catalog:
    stub: catalog_service_pb2_grpc.CatalogServiceAsyncStub
    channel: grpc.aio.Channel
    seeder: Seeder
    blobs: ObstoreBlobs

    async def resolve(self, model_id: str, *extra: str, organization_id: str = "org_a") -> pb.ResolveResponse:
        request = pb.ResolveRequest(organization_id=organization_id, model_id=model_id, extra_model_ids=extra)
        return await call(self.stub.Resolve, request, timeout_s=5)

    async def page(self, *, organization_id: str = "org_a", size: int = 0, token: str = "") -> pb.ListLorasResponse:
        request = pb.ListLorasRequest(organization_id=organization_id, page_size=size, page_token=token)
        return await call(self.stub.ListLoras, request, timeout_s=5)

    async def add_lora(
        self, path: Path, base: model_pb2.BaseModel, *, organization_id: str = "org_a"
    ) -> model_pb2.Lora:
        path.write_bytes(lora_files.lora(lora_files.peft_shapes()))
        entry = LoraEntry(file=path.name, name=path.stem)
        return await self.seeder.add_lora(path, entry, base, organization_id=organization_id)


@contextlib.asynccontextmanager
async def asking(dsn: str, port: int, tmp_path: Path) -> AsyncIterator[Catalog]:
    channel = connect(f"127.0.0.1:{port}")
    database = await Database.open(dsn, application_name="test", max_size=2)
    blobs = ObstoreBlobs.from_url((tmp_path / "store").as_uri())
    seeder = Seeder(CatalogRepository(database), blobs)
    try:
        yield Catalog(catalog_service_pb2_grpc.CatalogServiceStub(channel), channel, seeder, blobs)
    finally:
        await channel.close()
        await database.close()


@pytest.fixture
async def catalog(dsn: str, tmp_path: Path) -> AsyncIterator[Catalog]:
    await asyncio.to_thread(migrate, dsn, "catalog", MIGRATIONS)
    database = await Database.open(dsn, application_name="catalog", max_size=2)
    server = RpcServer("127.0.0.1:0")
    servicer = CatalogServicer(CatalogRepository(database))
    server.add(add_CatalogServiceServicer_to_server, servicer, app.SERVICE_NAME)
    async with asking(dsn, await server.start(), tmp_path) as catalog:
        yield catalog
    await server.drain(0)
    await database.close()


async def test_seeding_stores_every_file_and_lists_the_models(catalog: Catalog, tmp_path: Path):
    base, loras = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    answer = await call(catalog.stub.ListBaseModels, pb.ListBaseModelsRequest(), timeout_s=5)
    assert list(answer.base_models) == [base]
    assert base.sizing == model_pb2.SIZING_UPSCALE
    assert [lora.name for lora in loras] == ["Style 0"]
    assert {file.path for file in base.files} >= {"model_index.json", "unet/model.safetensors", "upscaler.safetensors"}
    for file in [*base.files, *(lora.file for lora in loras)]:
        assert len(await catalog.blobs.get(file.store_key)) == file.size_bytes


async def test_seeding_again_keeps_ids_and_renews_files(catalog: Catalog, tmp_path: Path):
    first, first_loras = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    same, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    assert same == first
    better, better_loras = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter", salt=b"\x02"))
    assert better.base_model_id == first.base_model_id
    assert [lora.model_id for lora in better_loras] == [lora.model_id for lora in first_loras]
    assert better_loras[0].file.sha256 != first_loras[0].file.sha256
    old = {file.path: file.store_key for file in first.files}
    new = {file.path: file.store_key for file in better.files}
    assert old["unet/model.safetensors"] != new["unet/model.safetensors"]
    assert old["unet/config.json"] == new["unet/config.json"]
    assert await catalog.blobs.head(old["unet/model.safetensors"])


async def test_a_base_model_that_changes_while_it_is_added_takes_no_stored_file_along(catalog: Catalog, tmp_path: Path):
    starter = lora_files.write_starter(tmp_path / "starter")

    class Restless(ObstoreBlobs):
        async def head(self, key):
            (starter / "base" / "unet" / "model.safetensors").touch()
            return await super().head(key)

    base, _ = await catalog.seeder.seed(starter)
    restless = Seeder(catalog.seeder._repository, Restless.from_url((tmp_path / "store").as_uri()))
    with pytest.raises(errors.FailedPrecondition, match="changed while"):
        await restless.add_base_model(starter / "base")
    for file in base.files:
        assert await catalog.blobs.head(file.store_key), file.path


async def test_a_seeding_shows_its_loras_in_its_own_order(catalog: Catalog, tmp_path: Path):
    starter = lora_files.write_starter(tmp_path / "starter", loras=4)
    _, loras = await catalog.seeder.seed(starter, with_unshared=True)
    assert [lora.name for lora in loras] == ["Style 0", "Style 1", "Style 2", "Style 3"]
    assert list((await catalog.page()).loras) == loras


async def test_a_lora_that_is_added_by_itself_renews_no_seeded_one(catalog: Catalog, tmp_path: Path):
    base, (seeded,) = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    added = [await catalog.add_lora(tmp_path / "style-0.safetensors", base, organization_id="") for _ in range(2)]
    listed = (await catalog.page()).loras
    assert [lora.model_id for lora in listed] == [added[1].model_id, added[0].model_id, seeded.model_id]
    assert listed[2] == seeded
    _, (again,) = await catalog.seeder.seed(tmp_path / "starter")
    assert again.model_id == seeded.model_id


async def test_a_seeded_lora_of_another_base_is_refused(catalog: Catalog, tmp_path: Path):
    base, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    path = tmp_path / "xl.safetensors"
    path.write_bytes(lora_files.lora({f"unet.x.attn2.to_k.lora_{half}.weight": (2048, 2048) for half in "AB"}))
    with pytest.raises(errors.LoraIncompatible, match="Stable Diffusion XL"):
        await catalog.seeder.add_lora(path, LoraEntry(file="xl.safetensors", name="XL"), base)


async def test_unshared_loras_are_seeded_only_when_asked_for(catalog: Catalog, tmp_path: Path):
    starter = lora_files.write_starter(tmp_path / "starter")
    await catalog.seeder.seed(starter)
    assert [lora.name for lora in (await catalog.page()).loras] == ["Style 0"]
    await catalog.seeder.seed(starter, with_unshared=True)
    assert {lora.name for lora in (await catalog.page()).loras} == {"Style 0", "Style 1"}


async def test_a_base_model_resolves_to_itself(catalog: Catalog, tmp_path: Path):
    base, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    answer = await catalog.resolve(base.base_model_id)
    assert answer.base_model == base
    assert not answer.loras


async def test_loras_resolve_in_the_order_asked(catalog: Catalog, tmp_path: Path):
    base, (shared,) = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    own = await catalog.add_lora(tmp_path / "own.safetensors", base)
    other = await catalog.add_lora(tmp_path / "other.safetensors", base)
    answer = await catalog.resolve(own.model_id, shared.model_id, other.model_id)
    assert not answer.HasField("error")
    assert [lora.model_id for lora in answer.loras] == [own.model_id, shared.model_id, other.model_id]
    assert answer.base_model.base_model_id == base.base_model_id


async def test_somebody_elses_lora_is_as_if_it_were_not_there(catalog: Catalog, tmp_path: Path):
    base, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    foreign = await catalog.add_lora(tmp_path / "f.safetensors", base, organization_id="org_b")
    as_main, as_extra = (
        await catalog.resolve(foreign.model_id),
        await catalog.resolve(base.base_model_id, foreign.model_id),
    )
    assert as_main.error.reason == error_reason_pb2.ERROR_REASON_MODEL_NOT_FOUND
    assert as_main.error.metadata["param"] == "model_id"
    assert as_extra.error.metadata["param"] == "loras[0].model_id"
    request = pb.GetLoraRequest(organization_id="org_a", model_id=foreign.model_id)
    with pytest.raises(errors.NotFound):
        await call(catalog.stub.GetLora, request, timeout_s=5)
    assert foreign.model_id not in {lora.model_id for lora in (await catalog.page()).loras}
    request.organization_id = "org_b"
    assert (await call(catalog.stub.GetLora, request, timeout_s=5)).lora == foreign


async def test_loras_of_different_bases_do_not_mix(catalog: Catalog, tmp_path: Path):
    one, (lora,) = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "one"))
    two, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "two", slug="two", loras=0))
    other = await catalog.add_lora(tmp_path / "o.safetensors", two)
    answer = await catalog.resolve(lora.model_id, other.model_id)
    assert answer.error.reason == error_reason_pb2.ERROR_REASON_LORA_INCOMPATIBLE
    assert answer.error.metadata["param"] == "loras[0].model_id"
    assert not answer.HasField("base_model")
    assert (await catalog.resolve(two.base_model_id, lora.model_id)).error.metadata[
        "base_model_id"
    ] == two.base_model_id
    assert one.base_model_id != two.base_model_id


async def test_a_renewed_base_model_shows_within_the_cache_time(catalog: Catalog, tmp_path: Path):
    base, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    await catalog.resolve(base.base_model_id)
    better, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter", salt=b"\x02"))
    async with asyncio.timeout(CACHE_S + 1):
        while True:
            answer = await catalog.resolve(base.base_model_id)
            if answer.base_model == better:
                break
            assert answer.base_model == base


async def test_base_models_are_read_by_id_and_by_slug(catalog: Catalog, tmp_path: Path):
    base, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"))
    for request in (pb.GetBaseModelRequest(base_model_id=base.base_model_id), pb.GetBaseModelRequest(slug="tiny")):
        assert (await call(catalog.stub.GetBaseModel, request, timeout_s=5)).base_model == base
    with pytest.raises(errors.NotFound):
        await call(catalog.stub.GetBaseModel, pb.GetBaseModelRequest(slug="none"), timeout_s=5)
    with pytest.raises(errors.InvalidParameter):
        await call(catalog.stub.GetBaseModel, pb.GetBaseModelRequest(), timeout_s=5)


async def test_pages_name_every_lora_once_newest_first(catalog: Catalog, tmp_path: Path):
    base, _ = await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"), with_unshared=True)
    for number in range(5):
        owner = "org_a" if number % 2 else ""
        await catalog.add_lora(tmp_path / f"l{number}.safetensors", base, organization_id=owner)
    await catalog.add_lora(tmp_path / "foreign.safetensors", base, organization_id="org_b")
    seen: list[str] = []
    token = ""
    for expected in (3, 3, 1):
        answer = await catalog.page(size=3, token=token)
        assert len(answer.loras) == expected
        seen += [lora.model_id for lora in answer.loras]
        token = answer.next_page_token
    assert token == ""
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 7


async def test_a_page_token_serves_its_own_organization_alone(catalog: Catalog, tmp_path: Path):
    await catalog.seeder.seed(lora_files.write_starter(tmp_path / "starter"), with_unshared=True)
    token = (await catalog.page(size=1)).next_page_token
    assert len((await catalog.page(size=1, token=token)).loras) == 1
    for forged in (token[:-4] + "AAAA", "x", new_id("model"), "é"):
        with pytest.raises(errors.InvalidParameter, match="page_token"):
            await catalog.page(size=1, token=forged)
    with pytest.raises(errors.InvalidParameter, match="page_token"):
        await catalog.page(organization_id="org_b", size=1, token=token)


@pytest.mark.parametrize("size", [-1, 101])
async def test_a_page_size_out_of_range_is_refused(catalog: Catalog, size: int):
    with pytest.raises(errors.InvalidParameter, match="page_size"):
        await catalog.page(size=size)
