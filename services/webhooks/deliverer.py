"""Delivers: leases what is due, makes the attempts side by side, writes down how each went.

A delivery is leased for longer than an attempt can take. Whoever dies between the request and its note leaves the lease
to run out, and the event is sent once more under the same id: at least once, never lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.message import DecodeError
from imagineo import errors
from imagineo.egress import urls
from imagineo.egress.urls import Reach, Receiver
from imagineo.telemetry.logs import bind
from imagineo.v1 import generation_pb2
from imagineo.v1 import webhook_pb2 as pb

from services.webhooks import events, schedule, signing
from services.webhooks.alarm import Alarm
from services.webhooks.metrics import WebhookMetrics
from services.webhooks.payloads import Presenter
from services.webhooks.repository.deliveries import Deliveries, Room
from services.webhooks.schedule import Answer
from services.webhooks.sender import Sender
from services.webhooks.vault import Vault

log = logging.getLogger(__name__)

#: How often it looks for what is due by time, or was left by others.
LOOK_S: Final = 1.0
#: How long attempts that are on their way may finish when the service ends.
_DRAIN_S: Final = 5.0
_NOTE_TRIES: Final = 5
_NOTE_PAUSE_S: Final = 1.0

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """How much is in the air at once, and for how long."""

    at_once: int
    at_one_origin: int
    of_one_owner: int
    lease: timedelta


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One request to make."""

    receiver: Receiver
    headers: Mapping[str, str]
    body: bytes


class Writer:
    """Makes the request of a delivery: address, signatures, body."""

    def __init__(self, presenter: Presenter, vault: Vault, reach: Reach) -> None:
        self._presenter, self._vault, self._reach = presenter, vault, reach

    def write(self, row: Row, now: datetime) -> Message:
        """The request of a leased row.

        Raises:
            Refused: if its endpoint or its secret is gone, or its URL is not taken any more.
        """
        url = row["endpoint_url"] if row["webhook_id"] else row["own_url"]
        if url is None or row["secret"] is None:
            raise errors.NotFound("The webhook is gone.")
        body = self._presenter.body(row["event_type"], row["occurred_at"], row["payload"], now)
        signers = [self._vault.unlock(row["secret"])]
        if row["previous_secret"] is not None and row["previous_until"] > now:
            signers.append(self._vault.unlock(row["previous_secret"]))
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": "Imagineo-Webhooks/1",
            "Accept-Encoding": "identity",
            **signing.headers(signers, row["event_id"], now, body),
        }
        receiver = urls.read("url", url, self._reach)
        return Message(receiver, fields, body)


class Deliverer:
    """The loop of one process.

    Args:
        clock: the time.
        chance: a fresh number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        writer: Writer,
        sender: Sender,
        alarm: Alarm,
        metrics: WebhookMetrics | None,
        *,
        bounds: Bounds,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self._deliveries, self._writer, self._sender, self._alarm = deliveries, writer, sender, alarm
        self._metrics, self._bounds, self._clock, self._chance = metrics, bounds, clock, chance
        self._attempts: dict[asyncio.Task[None], bool] = {}
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Say that something may be due."""
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled; then what is on its way may end."""
        try:
            while True:
                self._news.clear()
                try:
                    claimed = await self._begin()
                except errors.ImagineoError as problem:
                    log.debug("delivering waits: %s", problem)
                    claimed = 0
                if not claimed:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S):
                            await self._news.wait()
        finally:
            await self._drain()

    async def _begin(self) -> int:
        """Begin as many attempts as may be; gives how many."""
        free = self._bounds.at_once - len(self._attempts)
        if free <= 0:
            return 0
        suspects = sum(self._attempts.values())
        room = Room(
            total=free,
            suspect=max(0, min(free, self._bounds.at_once // 2 - suspects)),
            at_one_origin=self._bounds.at_one_origin,
            of_one_owner=self._bounds.of_one_owner,
        )
        now = self._clock()
        rows = await self._deliveries.claim(room, now, now + self._bounds.lease)
        for row in rows:
            task = asyncio.create_task(self._attempt(row))
            self._attempts[task] = row["suspect"]
            task.add_done_callback(self._ended)
        return len(rows)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._attempts[task]
        self._news.set()

    async def _drain(self) -> None:
        if not self._attempts:
            return
        _, late = await asyncio.wait(self._attempts, timeout=_DRAIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _attempt(self, row: Row) -> None:
        """One attempt; what it logs says whose it is and which run it tells of, if of any."""
        with bind(org_id=row["organization_id"], **_of_run(row)):
            try:
                await self._send(row)
            except Exception:
                log.exception("an attempt failed unexpectedly", extra={"delivery_id": row["delivery_id"]})

    async def _send(self, row: Row) -> None:
        began = self._clock()
        try:
            message = self._writer.write(row, began)
        except errors.Refused as problem:
            await self._deliveries.drop(row, problem.message, began)
            return
        except (DecodeError, KeyError, ValueError):
            log.exception("an event cannot be written", extra={"delivery_id": row["delivery_id"]})
            await self._deliveries.drop(row, "The event cannot be written.", began)
            return
        if self._metrics:
            with self._metrics.in_flight.track_inprogress(), self._metrics.attempt_seconds.time():
                answer = await self._sender.post(message.receiver, message.headers, message.body)
            self._metrics.attempts.labels("delivered" if answer.is_success else "failed").inc()
        else:
            answer = await self._sender.post(message.receiver, message.headers, message.body)
        await self._note(row, answer, began)

    async def _note(self, row: Row, answer: Answer, began: datetime) -> None:
        """Write down how it went; where the database stays away the event is sent again after the lease."""
        for tries in range(1, _NOTE_TRIES + 1):
            try:
                await self._settle(row, answer, began)
            except errors.Unavailable as problem:
                log.info("the end of %s is not noted yet: %s", row["delivery_id"], problem)
                if tries < _NOTE_TRIES:
                    await asyncio.sleep(_NOTE_PAUSE_S)
            else:
                return

    async def _settle(self, row: Row, answer: Answer, began: datetime) -> None:
        now = self._clock()
        following = schedule.after(
            answer, tries=row["tries"] + 1, round_at=row["round_at"], now=now, chance=self._chance()
        )
        log.info(
            "attempt",
            extra={
                "delivery_id": row["delivery_id"],
                "event_id": row["event_id"],
                "webhook_id": row["webhook_id"],
                "status_code": answer.status_code,
                "error": answer.error,
                "duration_ms": answer.duration_ms,
                "state": pb.DeliveryState.Name(following.state),
            },
        )
        failing_since = await self._deliveries.finish(row, answer, following, began, now)
        if failing_since is None:
            return
        reason = schedule.disabling(answer, failing_since, now)
        if reason is not None:
            await self._alarm.switch_off(row["webhook_id"], reason, now)


def _of_run(row: Row) -> dict[str, str]:
    """What the log says of the run that an event is about, the request that asked for it included."""
    if row["event_type"] == events.WEBHOOK_DISABLED:
        return {}
    request_id = ""
    with contextlib.suppress(DecodeError):  # told where its body is written
        request_id = generation_pb2.Generation.FromString(row["payload"]).request_id
    return {"run_id": row["subject_id"], "request_id": request_id}
