"""Forgets deliveries that are over after thirty days, and measures what waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from imagineo import errors
from imagineo.ids import lowest_id

from services.webhooks.metrics import WebhookMetrics
from services.webhooks.repository.deliveries import Deliveries

log = logging.getLogger(__name__)

KEPT: Final = timedelta(days=30)
INTERVAL_S: Final = 60.0


class Retention:
    """Runs beside the server in every replica: what two of them do is done once."""

    def __init__(
        self, deliveries: Deliveries, metrics: WebhookMetrics | None, *, clock: Callable[[], datetime]
    ) -> None:
        self._deliveries, self._metrics, self._clock = deliveries, metrics, clock

    async def run(self) -> None:
        """Do it for ever."""
        while True:
            try:
                await self.sweep()
            except errors.ImagineoError as problem:
                log.info("forgetting old deliveries waits: %s", problem)
            await asyncio.sleep(INTERVAL_S)

    async def sweep(self) -> int:
        """Do it once; gives how many deliveries were forgotten.

        Raises:
            Unavailable: if the database is away.
        """
        now = self._clock()
        if self._metrics:
            pending, age_s, untried_s = await self._deliveries.backlog(now)
            self._metrics.pending.set(pending)
            self._metrics.oldest_seconds.set(age_s)
            self._metrics.untried_seconds.set(untried_s)
        return await self._deliveries.forget(lowest_id("whd", now - KEPT))
