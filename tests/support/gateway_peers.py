"""Small in-process servers of auth, catalog and status with scripted replies, and a gateway in front of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time

import httpx
from imagineo import errors, keys
from imagineo.blobs.memory import MemoryBlobs
from imagineo.broker import subjects
from imagineo.broker.memory import MemoryBroker
from imagineo.ids import new_id
from imagineo.rpc.channel import connect
from imagineo.rpc.server import RpcServer
from imagineo.settings import Secret
from imagineo.v1 import (
    account_pb2,
    auth_service_pb2,
    auth_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    generation_pb2,
    generation_service_pb2,
    generation_service_pb2_grpc,
    model_pb2,
    upload_pb2,
    upload_service_pb2,
    upload_service_pb2_grpc,
)
from prometheus_client import CollectorRegistry

from services.gateway.app import build, wire
from services.gateway.background import Background
from services.gateway.metrics import GatewayMetrics
from services.gateway.peers import Peers
from services.gateway.settings import GatewaySettings

ORGANIZATION = "org_06bqz0000000000000000000a0"
BASE = model_pb2.BaseModel(
    base_model_id="base_06bqz0000000000000000000a0",
    slug="starter",
    name="Starter",
    family="sd",
    native_px=64,
    default_width=512,
    default_height=512,
    max_width=1024,
    max_height=1024,
    default_steps=20,
    max_steps=50,
    default_guidance=7.5,
    schedulers=["ddim", "euler"],
    default_scheduler="ddim",
)
LORA = model_pb2.Lora(
    model_id="model_06bqz0000000000000000000a0",
    name="Coffee Machine LoRA",
    description="Custom LoRA for coffee machines",
    base_model_id=BASE.base_model_id,
    trigger_words=["coffee"],
    naming="peft",
    rank=4,
    file=model_pb2.StoredFile(store_key="loras/a.safetensors", sha256="a" * 64, size_bytes=123),
)
OTHER_LORA = model_pb2.Lora(model_id="model_06bqz0000000000000000000b0", base_model_id=BASE.base_model_id, rank=8)
LORA.created_at.FromJsonString("2023-09-15T14:22:31Z")
LIMITS = account_pb2.Limits(requests_per_minute=100, images_per_month=1000, queued_runs=20)
TERMINAL = generation_pb2.STATUS_COMPLETED
OVER = (TERMINAL, generation_pb2.STATUS_FAILED, generation_pb2.STATUS_CANCELED, generation_pb2.STATUS_EXPIRED)


class Auth(auth_service_pb2_grpc.AuthServiceServicer):
    """Knows one key; refuses with `refusal` where that is set; stands still while not `open`."""

    def __init__(self):
        self.secret = keys.new_secret()
        self.organization_id = ORGANIZATION
        self.is_revoked = False
        self.refusal = None
        self.checks = []
        self.allowed_model_ids = []
        self.images_used = 7
        self.batches = 0
        self.released = []
        self.on_release = asyncio.Event()
        self.on_check = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def Authorize(self, request, context):  # noqa: N802
        await self.open.wait()
        self.batches += 1
        self.checks += request.checks
        self.on_check.set()
        return auth_service_pb2.AuthorizeResponse(verdicts=[self._verdict(check) for check in request.checks])

    def _verdict(self, check):
        if check.key_sha256 != keys.digest(self.secret) or self.is_revoked:
            return auth_service_pb2.Verdict(error=errors.InvalidApiKey().detail())
        principal = account_pb2.Principal(
            organization_id=self.organization_id,
            key_id="key_1",
            plan=account_pb2.PLAN_PREMIUM,
            limits=LIMITS,
            allowed_model_ids=self.allowed_model_ids,
        )
        rate = account_pb2.RateLimit(limit=100, remaining=99, reset_at_epoch_s=int(time.time()) + 30)
        error = self.refusal.detail() if self.refusal else None
        return auth_service_pb2.Verdict(principal=principal, rate_limit=rate, error=error)

    async def ReleaseReservations(self, request, context):  # noqa: N802
        self.released += request.run_ids
        self.on_release.set()
        return auth_service_pb2.ReleaseReservationsResponse()

    async def GetUsage(self, request, context):  # noqa: N802
        organization = account_pb2.Organization(plan=account_pb2.PLAN_PREMIUM, limits=LIMITS)
        rate = account_pb2.RateLimit(limit=100, remaining=98, reset_at_epoch_s=int(time.time()) + 30)
        return auth_service_pb2.GetUsageResponse(
            organization=organization, rate_limit=rate, images_used=self.images_used, images_reserved=3
        )


class Catalog(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Knows one base model and two LoRAs."""

    def __init__(self):
        self.asked = []
        self.loras = {lora.model_id: lora for lora in (LORA, OTHER_LORA)}
        self.refusal = None
        self.uploaded = []
        self.largest_chunk_bytes = 0
        self.changes = []
        self.listed = []

    async def Resolve(self, request, context):  # noqa: N802
        self.asked.append(request)
        found = []
        for index, model_id in enumerate([request.model_id, *request.extra_model_ids]):
            if index == 0 and model_id == BASE.base_model_id:
                continue
            if model_id not in self.loras:
                param = "model_id" if index == 0 else f"extra_model_ids[{index - 1}]"
                refusal = errors.ModelNotFound(f"There is no model '{model_id}'.", metadata={"param": param})
                return catalog_service_pb2.ResolveResponse(error=refusal.detail())
            found.append(self.loras[model_id])
        return catalog_service_pb2.ResolveResponse(base_model=BASE, loras=found)

    async def ListLoras(self, request, context):  # noqa: N802
        self.listed.append(request)
        if request.page_token not in ("", "two"):
            raise errors.InvalidParameter.of("page_token", "one of ours")
        if request.page_token == "two":
            return catalog_service_pb2.ListLorasResponse(loras=[OTHER_LORA])
        return catalog_service_pb2.ListLorasResponse(loras=[LORA], next_page_token="two")

    async def GetLora(self, request, context):  # noqa: N802
        if request.model_id not in self.loras:
            raise errors.NotFound
        return catalog_service_pb2.GetLoraResponse(lora=self.loras[request.model_id])

    async def CreateLora(self, request_iterator, context):  # noqa: N802
        opening = (await anext(request_iterator)).opening
        content = b""
        async for message in request_iterator:
            if message.HasField("draft"):
                break
            content += message.chunk
            self.largest_chunk_bytes = max(self.largest_chunk_bytes, len(message.chunk))
        else:
            raise errors.InvalidFile("The upload ended.")
        self.uploaded.append((opening.organization_id, content, message.draft))
        if self.refusal:
            raise self.refusal
        draft = message.draft
        lora = model_pb2.Lora(
            model_id=new_id("model"),
            organization_id=opening.organization_id,
            name=draft.name,
            description=draft.description,
            base_model_id=draft.base_model_id,
            trigger_words=draft.trigger_words,
            naming="peft",
            rank=4,
            file=model_pb2.StoredFile(store_key="loras/x.safetensors", sha256="b" * 64, size_bytes=len(content)),
            sharing=draft.sharing,
            shared_organization_ids=draft.shared_organization_ids,
            check=model_pb2.LoraCheck(ranks=[4], target_modules=["to_q"], matched_keys=3, ignored_keys=1),
            sample_run_id=draft.sample_run_id,
        )
        self.loras[lora.model_id] = lora
        return catalog_service_pb2.CreateLoraResponse(lora=lora)

    async def UpdateLora(self, request, context):  # noqa: N802
        self.changes.append(request)
        lora = self._owned(request)
        lora.name = request.name or lora.name
        return catalog_service_pb2.UpdateLoraResponse(lora=lora)

    async def DeleteLora(self, request, context):  # noqa: N802
        del self.loras[self._owned(request).model_id]
        return catalog_service_pb2.DeleteLoraResponse()

    def _owned(self, request):
        lora = self.loras.get(request.model_id)
        if lora is None:
            raise errors.NotFound
        if lora.organization_id != request.organization_id:
            raise errors.PermissionDenied("It belongs to the platform.")
        return lora

    async def GetBaseModel(self, request, context):  # noqa: N802
        return catalog_service_pb2.GetBaseModelResponse(base_model=BASE)

    async def ListBaseModels(self, request, context):  # noqa: N802
        return catalog_service_pb2.ListBaseModelsResponse(base_models=[BASE])


class Status(generation_service_pb2_grpc.GenerationServiceServicer):
    """Keeps runs in a dict; refuses with `refusal` where that is set; stands still while not `open`."""

    def __init__(self):
        self.runs = {}
        self.by_key = {}
        self.submissions = []
        self.published = []
        self.on_published = asyncio.Event()
        self.on_cancel = asyncio.Event()
        self.on_watch = asyncio.Event()
        self.watches_to_break = 0
        self.watches_begun = 0
        self.watches_open = 0
        self.on_unwatched = asyncio.Event()
        self.news = asyncio.Event()
        self.listed = []
        self.estimated = []
        self.refusal = None
        self.open = asyncio.Event()
        self.open.set()

    async def Accept(self, request, context):  # noqa: N802
        await self.open.wait()
        answers = [self._accept(submission) for submission in request.submissions]
        return generation_service_pb2.AcceptResponse(acceptances=answers)

    def _accept(self, submission):
        if self.refusal:
            return generation_service_pb2.Acceptance(error=self.refusal.detail())
        self.submissions.append(submission)
        key = submission.idempotency_key
        if key and key in self.by_key:
            answer, digest = self.by_key[key]
            if digest != submission.body_sha256:
                return generation_service_pb2.Acceptance(error=errors.IdempotencyKeyReused().detail())
            replay = generation_service_pb2.Acceptance()
            replay.CopyFrom(answer)
            replay.replayed = True
            return replay
        job = submission.job
        run = generation_pb2.Generation(
            run_id=job.run_id,
            organization_id=job.organization_id,
            status=generation_pb2.STATUS_QUEUED,
            parameters=job.parameters,
            created_at=job.accepted_at,
            metadata=submission.metadata,
            estimated_time_s=9,
            queue_position=0,
            version=1,
        )
        self.runs[run.run_id] = run
        answer = generation_service_pb2.Acceptance(run_id=run.run_id, estimated_time_s=9, seed=job.parameters.seed)
        self.by_key[key] = (answer, submission.body_sha256)
        return answer

    async def AcceptTogether(self, request, context):  # noqa: N802
        await self.open.wait()
        if self.refusal:
            raise self.refusal
        answers = [self._accept(submission) for submission in request.submissions]
        return generation_service_pb2.AcceptTogetherResponse(acceptances=answers)

    async def FindAcceptance(self, request, context):  # noqa: N802
        if request.idempotency_key not in self.by_key:
            raise errors.NotFound
        answer, digest = self.by_key[request.idempotency_key]
        if digest != request.body_sha256:
            raise errors.IdempotencyKeyReused
        return generation_service_pb2.FindAcceptanceResponse(acceptance=answer)

    async def CountUnfinished(self, request, context):  # noqa: N802
        count = sum(
            run.organization_id == request.organization_id and run.status != TERMINAL for run in self.runs.values()
        )
        return generation_service_pb2.CountUnfinishedResponse(unfinished_count=count)

    async def EstimateRun(self, request, context):  # noqa: N802
        self.estimated.append(request.job)
        return generation_service_pb2.EstimateRunResponse(estimated_time_s=11)

    def finish(self, run_id, image: bytes, digest: str):
        """Complete a run with an image that lies under `images/<run_id>`."""
        run = self.runs[run_id]
        run.status, run.progress, run.estimated_time_s = TERMINAL, 100, 0
        run.ClearField("queue_position")
        run.image.CopyFrom(
            generation_pb2.Image(
                store_key=f"images/{run_id}",
                width=512,
                height=512,
                output_format=run.parameters.output_format,
                size_bytes=len(image),
                sha256=digest,
            )
        )
        run.finished_at.GetCurrentTime()
        self.change(run_id)

    def change(self, run_id, **fields):
        """Set fields of a run, as a new version that its watches see; with none, only tell them."""
        run = self.runs[run_id]
        run.MergeFrom(generation_pb2.Generation(**fields))
        run.version += 1
        self.tell()

    def tell(self):
        """Wake the watches."""
        self.news.set()
        self.news = asyncio.Event()

    def _find(self, request):
        run = self.runs.get(request.run_id)
        if run is None or request.organization_id not in ("", run.organization_id):
            raise errors.NotFound("There is no such generation.")
        return run

    async def MarkPublished(self, request, context):  # noqa: N802
        self.published += request.published
        self.on_published.set()
        return generation_service_pb2.MarkPublishedResponse()

    async def GetGeneration(self, request, context):  # noqa: N802
        return generation_service_pb2.GetGenerationResponse(generation=self._find(request))

    async def CancelGeneration(self, request, context):  # noqa: N802
        run = self._find(request)
        run.status = generation_pb2.STATUS_CANCELED
        self.change(request.run_id)
        self.on_cancel.set()
        return generation_service_pb2.CancelGenerationResponse(generation=run)

    async def ListGenerations(self, request, context):  # noqa: N802
        self.listed.append(request)
        if request.page_token not in ("", "two"):
            raise errors.InvalidParameter.of("page_token", "one of ours")
        return generation_service_pb2.ListGenerationsResponse(generations=self.runs.values(), next_page_token="two")

    async def WatchGeneration(self, request, context):  # noqa: N802
        self.watches_begun += 1
        self.watches_open += 1
        seen = -1
        try:
            while seen < 0 or self._find(request).status not in OVER:
                news, run = self.news, self._find(request)
                if run.version > seen:
                    seen = run.version
                    yield generation_service_pb2.WatchGenerationResponse(generation=run)
                    self.on_watch.set()
                    if self.watches_to_break > 0:
                        self.watches_to_break -= 1
                        raise errors.Unavailable
                if run.status not in OVER:
                    await news.wait()
            if self._find(request).version > seen:
                yield generation_service_pb2.WatchGenerationResponse(generation=self._find(request))
        finally:
            self.watches_open -= 1
            self.on_unwatched.set()


class Uploads(upload_service_pb2_grpc.UploadServiceServicer):
    """Keeps uploads in a dict."""

    def __init__(self):
        self.uploads = {}
        self.on_delete = asyncio.Event()

    async def CreateUpload(self, request, context):  # noqa: N802
        upload = upload_pb2.Upload()
        upload.CopyFrom(request.upload)
        upload.created_at.GetCurrentTime()
        upload.expires_at.FromSeconds(upload.created_at.seconds + 30 * 86_400)
        self.uploads[upload.upload_id] = upload
        return upload_service_pb2.CreateUploadResponse(upload=upload)

    def _find(self, request):
        upload = self.uploads.get(request.upload_id)
        if upload is None or upload.organization_id != request.organization_id:
            raise errors.NotFound("There is no such upload.", metadata={"upload_id": request.upload_id})
        return upload

    async def GetUpload(self, request, context):  # noqa: N802
        return upload_service_pb2.GetUploadResponse(upload=self._find(request))

    async def DeleteUpload(self, request, context):  # noqa: N802
        del self.uploads[self._find(request).upload_id]
        self.on_delete.set()
        return upload_service_pb2.DeleteUploadResponse()


@dataclasses.dataclass
class Platform:
    """The peers, the fakes that ship, and a client of the gateway in front of them."""

    auth: Auth
    catalog: Catalog
    status: Status
    uploads: Uploads
    servers: dict[str, RpcServer]
    ports: dict[str, int]
    broker: MemoryBroker
    blobs: MemoryBlobs
    parts: object
    app: object
    client: httpx.AsyncClient
    background: Background

    async def generate(self, *, headers=None, **fields):
        body = {"positive_prompt": "a blue mug", "model_id": LORA.model_id} | fields
        return await self.client.post("/v1/generate", json=body, headers=headers)


def settings(**changes) -> GatewaySettings:
    values = {"auth_address": "-", "catalog_address": "-", "status_address": "-", "nats_url": "-", "blobs_url": "-"}
    values |= {"public_url": "https://imagineo.test", "signing_key": Secret("0123456789abcdef")}
    return GatewaySettings(**values | changes)


@contextlib.asynccontextmanager
async def platform(**changes):
    """A gateway on scripted peers, through ASGI."""
    auth, catalog, status, uploads = Auth(), Catalog(), Status(), Uploads()
    found = {
        "auth": (auth, auth_service_pb2_grpc.add_AuthServiceServicer_to_server, "imagineo.v1.AuthService"),
        "catalog": (
            catalog,
            catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server,
            "imagineo.v1.CatalogService",
        ),
        "status": (
            status,
            generation_service_pb2_grpc.add_GenerationServiceServicer_to_server,
            "imagineo.v1.GenerationService",
        ),
    }
    servers, channels, ports = {}, {}, {}
    for name, (servicer, register, service_name) in found.items():
        servers[name] = RpcServer("127.0.0.1:0", metrics=None)
        servers[name].add(register, servicer, service_name)
        if name == "status":
            register_uploads = upload_service_pb2_grpc.add_UploadServiceServicer_to_server
            servers[name].add(register_uploads, uploads, "imagineo.v1.UploadService")
        ports[name] = await servers[name].start()
        channels[name] = connect(f"127.0.0.1:{ports[name]}")
    channels["webhooks"] = connect("127.0.0.1:1")  # nobody is there: the rest must not need it
    peers, broker, blobs = Peers(**channels), MemoryBroker(), MemoryBlobs()
    background, metrics = Background(), GatewayMetrics(CollectorRegistry())
    parts = wire(settings(**changes), peers=peers, broker=broker, blobs=blobs, background=background, metrics=metrics)
    await broker.subscribe(subjects.EVERY_WORKER, parts.warmth.hear)
    app = build(parts, metrics)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"X-API-Key": auth.secret}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers, timeout=30) as client:
        yield Platform(auth, catalog, status, uploads, servers, ports, broker, blobs, parts, app, client, background)
    await background.drain(0)
    await peers.close()
    for server in servers.values():
        await server.drain(0)


def new_run_id() -> str:
    return new_id("gen")
