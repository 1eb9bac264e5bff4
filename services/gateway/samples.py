"""The sample pictures of LoRAs: one ordinary run of the owner's for each upload, and the link to its picture.

The run counts as any other of the organization; where its images or its queue are used up, there is no sample.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from imagineo import errors
from imagineo.v1 import account_pb2, auth_service_pb2, catalog_service_pb2, generation_pb2, model_pb2
from imagineo.v1 import generation_service_pb2 as pb

from services.gateway.admission import BUDGET_S, Admission, Request
from services.gateway.exchange import Exchange
from services.gateway.peers import Peers
from services.gateway.preferences import Preferences
from services.gateway.publishing import Publisher
from services.gateway.submission import Wanted

log = logging.getLogger(__name__)

#: What marks such a run for its owner.
METADATA_KEY: Final = "sample_of"
_PROMPT_MAX_CHARACTERS: Final = 2_000


class Samples:
    """Has samples drawn, and finds them."""

    def __init__(self, peers: Peers, admission: Admission, publisher: Publisher) -> None:
        self._peers = peers
        self._admission = admission
        self._publisher = publisher

    async def draw(self, principal: account_pb2.Principal, exchange: Exchange, lora: model_pb2.Lora) -> None:
        """Submit the run that `lora.sample_run_id` names; a failure leaves the LoRA without a sample."""
        deadline_s = asyncio.get_running_loop().time() + BUDGET_S
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._draw(principal, exchange, lora, deadline_s)
        except (errors.ImagineoError, TimeoutError) as problem:
            log.info("model %s stays without a sample: %s", lora.model_id, problem)

    async def _draw(
        self, principal: account_pb2.Principal, exchange: Exchange, lora: model_pb2.Lora, deadline_s: float
    ) -> None:
        names = auth_service_pb2.GetUsageRequest(organization_id=principal.organization_id)
        usage = await self._peers.ask(self._peers.auth.GetUsage, names)
        if usage.images_used + usage.images_reserved >= usage.organization.limits.images_per_month:
            raise errors.QuotaExceeded
        base = catalog_service_pb2.GetBaseModelRequest(base_model_id=lora.base_model_id)
        base_model = (await self._peers.ask(self._peers.catalog.GetBaseModel, base)).base_model
        prompt = ", ".join([*lora.trigger_words, base_model.sample_prompt or "a red apple"])
        wanted = Wanted(
            positive_prompt=prompt[:_PROMPT_MAX_CHARACTERS],
            model_id=lora.model_id,
            metadata={METADATA_KEY: lora.model_id},
        )
        submission = await self._admission.prepared(
            lora.sample_run_id, principal, Request(wanted, Preferences(), b""), exchange, deadline_s
        )
        answer = await self._peers.ask(self._peers.status.Accept, pb.AcceptRequest(submissions=[submission]))
        if answer.acceptances[0].HasField("error"):
            raise errors.from_detail(answer.acceptances[0].error)
        await self._publisher.publish(submission.job)

    async def find(self, loras: Sequence[model_pb2.Lora]) -> dict[str, generation_pb2.Generation]:
        """The completed sample runs of some LoRAs, by model id; none while status is away."""
        asked = [lora for lora in loras if lora.sample_run_id]
        runs = await asyncio.gather(*(self._completed(lora.sample_run_id) for lora in asked))
        return {lora.model_id: run for lora, run in zip(asked, runs, strict=True) if run is not None}

    async def _completed(self, run_id: str) -> generation_pb2.Generation | None:
        try:
            found = await self._peers.ask(self._peers.status.GetGeneration, pb.GetGenerationRequest(run_id=run_id))
        except errors.ImagineoError:
            return None
        run: generation_pb2.Generation = found.generation
        return run if run.status == generation_pb2.STATUS_COMPLETED and run.HasField("image") else None
