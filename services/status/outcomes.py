"""Settles what workers say of the end of their attempts: the durable consumer of OUTCOMES."""

from __future__ import annotations

import asyncio
import logging

from google.protobuf.message import DecodeError
from imagineo import errors
from imagineo.broker.port import Broker, Delivery
from imagineo.jobs.states import Ending
from imagineo.telemetry import tracing
from imagineo.telemetry.logs import bind
from imagineo.v1 import event_pb2, generation_pb2

from services.status.repository.runs import Word
from services.status.transitions import Transitions

log = logging.getLogger(__name__)


class Outcomes:
    """Applies outcomes and acks them after the commit; while the database is away they stay in the stream."""

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions

    async def run(self, broker: Broker) -> None:
        """Consume, for ever."""
        await broker.consume("OUTCOMES", "status", self.settle)

    async def settle(self, deliveries: list[Delivery]) -> None:
        """Settle one batch; while the database is away, all that is not settled comes again."""
        answers = await asyncio.gather(*(self._settle(delivery) for delivery in deliveries), return_exceptions=True)
        for problem in answers:
            if isinstance(problem, BaseException):
                raise problem

    async def _settle(self, delivery: Delivery) -> None:
        try:
            outcome = event_pb2.Outcome.FromString(delivery.body)
        except DecodeError:
            log.error("an outcome could not be read and is dropped", extra={"subject": delivery.subject})  # noqa: TRY400 - the message says all
            await delivery.term()
            return
        with (
            bind(run_id=outcome.run_id),
            tracing.continued(delivery.trace),
            tracing.span("process imagineo.v1.outcomes", {"imagineo.run_id": outcome.run_id}, kind="CONSUMER"),
        ):
            try:
                await self._transitions.apply(word_of(outcome, delivery.body))
            except errors.Refused as problem:
                log.error("an outcome cannot be stored and is dropped: %s", problem)  # noqa: TRY400 - the same
                await delivery.term()
                return
            await delivery.ack()


def word_of(outcome: event_pb2.Outcome, body: bytes) -> Word:
    """Read an outcome as an event; a completed one without an image is a failure of the worker."""
    status, error = outcome.status, outcome.error
    if status == generation_pb2.STATUS_COMPLETED and not outcome.image.store_key:
        message = "The worker said that the image is done, but not where it is."
        failure = Ending(outcome.attempt, generation_pb2.STATUS_FAILED, "internal_error", message)
        return Word(_clean(outcome.run_id), failure)
    code, message = _clean(error.code), _clean(error.message)
    if status == generation_pb2.STATUS_FAILED:
        code, message = code or "internal_error", message or "The image could not be drawn."
    return Word(_clean(outcome.run_id), Ending(outcome.attempt, status, code, message), body)


def _clean(text: str) -> str:
    return text.replace("\0", "")
