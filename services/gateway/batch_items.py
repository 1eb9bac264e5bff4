"""The items of a batch, read page by page while somebody takes them: never more than a page in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from imagineo.v1 import batch_pb2
from imagineo.v1 import batch_service_pb2 as pb

from services.gateway.peers import Peers

#: Items of one call to status.
PAGE: Final = 100


async def items_of(peers: Peers, organization_id: str, batch_id: str) -> AsyncIterator[batch_pb2.BatchItem]:
    """All items in the order of their index, deleted ones included.

    Raises:
        NotFound: before the first one, if the batch is absent or somebody else's.
        Unavailable: at any of them.
    """
    first_index = 0
    while True:
        request = pb.ListBatchItemsRequest(
            organization_id=organization_id, batch_id=batch_id, first_index=first_index, page_size=PAGE
        )
        page: pb.ListBatchItemsResponse = await peers.ask(peers.batches.ListBatchItems, request)
        for item in page.items:
            yield item
        if len(page.items) < PAGE:
            return
        first_index = page.items[-1].index + 1
