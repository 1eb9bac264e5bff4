"""What the model ids of a request stand for: catalog's answers, kept for some seconds, asked once at a time."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from imagineo import errors
from imagineo.v1 import catalog_service_pb2

from services.gateway.peers import Peers

FOUND_FOR_S: Final = 5.0
REFUSED_FOR_S: Final = 1.0
_MAX_ENTRIES: Final = 4_096

#: Catalog's name of a further LoRA, where it uses its own request's field names.
_CATALOG_PARAM: Final = re.compile(r"extra_model_ids\[(\d+)\]")

Key = tuple[str, str, tuple[str, ...]]


class Resolver:
    """A cache in front of catalog's Resolve, one entry for each (organization, model ids). Use it from one loop.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(self, peers: Peers, clock_s: Callable[[], float]) -> None:
        self._peers = peers
        self._clock_s = clock_s
        self._known: OrderedDict[Key, tuple[float, catalog_service_pb2.ResolveResponse]] = OrderedDict()
        self._asking: dict[Key, asyncio.Task[catalog_service_pb2.ResolveResponse]] = {}

    async def resolve(
        self, organization_id: str, model_id: str, extra_model_ids: tuple[str, ...]
    ) -> catalog_service_pb2.ResolveResponse:
        """The base model and the LoRAs behind the ids.

        Raises:
            ModelNotFound, LoraIncompatible: with `param` naming the field.
            Unavailable: if catalog is away and nothing fresh is known; this is not remembered.
        """
        key = (organization_id, model_id, extra_model_ids)
        answer = self._fresh(key)
        if answer is None:
            task = self._asking.get(key)
            if task is None:
                task = self._asking[key] = asyncio.create_task(self._ask(key))
                task.add_done_callback(lambda done: self._asked(key, done))
            # Shielded: a caller that gives up must not take the answer from those who wait with it.
            answer = await asyncio.shield(task)
        if answer.HasField("error"):
            raise errors.from_detail(answer.error)
        return answer

    def forget(self, model_id: str) -> None:
        """Ask catalog anew about every request that names this model: it was changed or deleted."""
        for key in [key for key in self._known if model_id == key[1] or model_id in key[2]]:
            del self._known[key]

    def _fresh(self, key: Key) -> catalog_service_pb2.ResolveResponse | None:
        entry = self._known.get(key)
        return entry[1] if entry is not None and self._clock_s() < entry[0] else None

    async def _ask(self, key: Key) -> catalog_service_pb2.ResolveResponse:
        organization_id, model_id, extra_model_ids = key
        request = catalog_service_pb2.ResolveRequest(
            organization_id=organization_id, model_id=model_id, extra_model_ids=extra_model_ids
        )
        try:
            answer: catalog_service_pb2.ResolveResponse = await self._peers.ask(self._peers.catalog.Resolve, request)
        except errors.Refused as refusal:
            answer = catalog_service_pb2.ResolveResponse(error=refusal.detail())
        if answer.HasField("error") and (param := answer.error.metadata.get("param")):
            answer.error.metadata["param"] = _CATALOG_PARAM.sub(r"loras[\1].model_id", param)
        self._keep(key, answer)
        return answer

    def _keep(self, key: Key, answer: catalog_service_pb2.ResolveResponse) -> None:
        lifetime_s = REFUSED_FOR_S if answer.HasField("error") else FOUND_FOR_S
        self._known[key] = (self._clock_s() + lifetime_s, answer)
        self._known.move_to_end(key)
        while len(self._known) > _MAX_ENTRIES:
            self._known.popitem(last=False)

    def _asked(self, key: Key, task: asyncio.Task[catalog_service_pb2.ResolveResponse]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # marks it as seen where every caller has given up
