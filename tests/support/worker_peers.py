"""Peers of a worker under test: a scripted `status` over real gRPC, and the jobs that it draws."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from contextlib import asynccontextmanager

from google.protobuf.duration_pb2 import Duration
from imagineo.errors import Unavailable
from imagineo.rpc.channel import connect
from imagineo.rpc.server import RpcServer
from imagineo.v1 import catalog_service_pb2 as catalog
from imagineo.v1 import catalog_service_pb2_grpc, generation_pb2, generation_service_pb2_grpc, job_pb2, model_pb2
from imagineo.v1 import generation_service_pb2 as generations


class ScriptedStatus(generation_service_pb2_grpc.GenerationServiceServicer):
    """Grants claims unless told otherwise, and remembers what it was asked."""

    def __init__(self):
        self.claims = []
        self.verdicts = {}
        self.lease_verdicts = defaultdict(lambda: generations.LEASE_VERDICT_KEPT)
        self.is_away = False
        self.renewed = asyncio.Event()
        self.refused = asyncio.Event()

    async def Claim(self, request, context):  # noqa: N802 - the protocol names it
        if self.is_away:
            self.refused.set()
            raise Unavailable
        self.claims.append(request)
        verdict = self.verdicts.get(request.run_id, generations.CLAIM_VERDICT_GRANTED)
        attempt = sum(claim.run_id == request.run_id for claim in self.claims)
        return generations.ClaimResponse(
            verdict=verdict, attempt=attempt, lease=Duration(seconds=8), retry_after=Duration(seconds=1)
        )

    async def RenewLeases(self, request, context):  # noqa: N802 - the protocol names it
        if self.is_away:
            raise Unavailable
        self.renewed.set()
        return generations.RenewLeasesResponse(verdicts=[self.lease_verdicts[one.run_id] for one in request.leases])


class ScriptedCatalog(catalog_service_pb2_grpc.CatalogServiceServicer):
    def __init__(self, *bases):
        self.bases = {base.slug: base for base in bases}

    async def ListBaseModels(self, request, context):  # noqa: N802 - the protocol names it
        return catalog.ListBaseModelsResponse(base_models=self.bases.values())

    async def GetBaseModel(self, request, context):  # noqa: N802 - the protocol names it
        return catalog.GetBaseModelResponse(base_model=self.bases[request.slug])


@asynccontextmanager
async def served_at(servicer, register, name, *, port=0):
    """Serve a scripted peer; gives its port."""
    server = RpcServer(f"127.0.0.1:{port}")
    server.add(register, servicer, name)
    try:
        yield await server.start()
    finally:
        await server.drain(0)


@asynccontextmanager
async def served(servicer, register, name, *, port=0):
    """Serve a scripted peer; gives the channel to it."""
    async with served_at(servicer, register, name, port=port) as bound:
        channel = connect(f"127.0.0.1:{bound}")
        try:
            yield channel
        finally:
            await channel.close(None)


def job_of(run_id, *adapters, slug="tiny", lane=job_pb2.LANE_FREE, **parameters):
    """A job of a small picture; keyword arguments change its parameters."""
    chosen = {
        "positive_prompt": "a red cat",
        "guidance": 5.0,
        "width": 64,
        "height": 64,
        "steps": 3,
        "seed": 5,
        "scheduler": "ddim",
        "output_format": generation_pb2.OUTPUT_FORMAT_PNG,
    } | parameters
    job = job_pb2.Job(
        run_id=run_id,
        organization_id="org_1",
        lane=lane,
        parameters=generation_pb2.Parameters(**chosen),
        base_model_slug=slug,
        adapters=adapters,
    )
    job.accepted_at.GetCurrentTime()
    return job


async def stored_adapter(blobs, path, weight=0.8, model_id="model_1"):
    """Put a LoRA file into the store; gives the job's adapter."""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"loras/{sha256}.safetensors"
    await blobs.put(key, content, content_type="application/octet-stream")
    file = model_pb2.StoredFile(store_key=key, sha256=sha256, size_bytes=len(content))
    return job_pb2.Adapter(model_id=model_id, weight=weight, file=file)


async def stored_base(blobs, directory, *, slug="tiny", family="sd"):
    base = model_pb2.BaseModel(
        base_model_id="base_1",
        slug=slug,
        family=family,
        native_px=64,
        sizing=model_pb2.SIZING_DIRECT,
    )
    if (directory / "upscaler.safetensors").exists():
        base.sizing, base.upscaler = model_pb2.SIZING_UPSCALE, "upscaler.safetensors"
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            await blobs.put(f"bases/{sha256}", content, content_type="application/octet-stream")
            base.files.add(store_key=f"bases/{sha256}", sha256=sha256, path=path.relative_to(directory).as_posix())
    return base
