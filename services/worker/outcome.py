"""The table from how a run went to what is said and done about it. Pure.

What happened                     outcome said      the delivery
drawn and stored                  completed         ack
canceled by its owner             canceled          ack
cannot be drawn (`DrawFailed`)    failed, its code  ack
a bug (any other exception)       failed, internal  ack
a dependency is away              queued            nak with delay: no attempt is lost
the device broke, others at work  queued            nak with delay: no attempt is lost
the device broke while at work    nothing           nak with delay: it costs an attempt, so that no run breaks device
                                                    after device for ever
the worker drains                 queued            nak at once
the lease was lost                nothing           ack is the new owner's: leave it
this worker has it in hand        nothing           nak with delay: it comes again when it is over
claim held by another             nothing           nak until it may be asked again
claim over or unknown             nothing           ack
claim unanswered                  nothing           nak with delay
left to a warmer worker           nothing           nak at once
not a job                         nothing           term
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from imagineo.errors import ImagineoError, Unavailable
from imagineo.v1 import generation_pb2

from services.worker.engine.base import DrawStopped, StopReason
from services.worker.engine.failures import DeviceBroken, DrawFailed

#: How long a job rests before it comes again because something was away.
AWAY_DELAY_S = 3.0


class Settle(enum.Enum):
    """What becomes of a delivery."""

    ACK = "ack"
    NAK = "nak"
    TERM = "term"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: what status is told, if anything, and what becomes of the delivery."""

    name: str
    settle: Settle
    status: generation_pb2.Status.ValueType | None = None
    delay_s: float = 0.0
    error_code: str = ""
    error_message: str = ""


COMPLETED = Ending("completed", Settle.ACK, generation_pb2.STATUS_COMPLETED)
CANCELED = Ending("canceled", Settle.ACK, generation_pb2.STATUS_CANCELED)
DRAINED = Ending("handed_back", Settle.NAK, generation_pb2.STATUS_QUEUED)
AWAY = Ending("handed_back", Settle.NAK, generation_pb2.STATUS_QUEUED, AWAY_DELAY_S)
BROKEN = Ending("device_broken", Settle.NAK, None, AWAY_DELAY_S)
LOST = Ending("lost", Settle.LEAVE)
CLAIM_OVER = Ending("over", Settle.ACK)
CLAIM_UNANSWERED = Ending("unclaimed", Settle.NAK, None, AWAY_DELAY_S)
IN_HAND = Ending("in_hand", Settle.NAK, None, AWAY_DELAY_S)
PASSED_ON = Ending("passed_on", Settle.LEAVE)
NOT_A_JOB = Ending("not_a_job", Settle.TERM)

OF_STOP = {StopReason.CANCELED: CANCELED, StopReason.LOST: LOST, StopReason.DRAINING: DRAINED}


def claim_held(retry_after_s: float) -> Ending:
    """Another worker's lease lives."""
    return Ending("held", Settle.NAK, None, max(0.5, retry_after_s))


def of_problem(problem: Exception, stop: StopReason | None) -> Ending:
    """The ending of a run whose work raised `problem` while its stop signal said `stop`."""
    if isinstance(problem, DrawStopped):
        return OF_STOP[stop or StopReason.LOST]
    if isinstance(problem, DeviceBroken):
        return BROKEN if problem.is_suspect else AWAY
    if isinstance(problem, Unavailable):
        return AWAY
    if isinstance(problem, DrawFailed):
        return _failed(problem.run_code, problem.message)
    if isinstance(problem, ImagineoError):
        return _failed(problem.code, problem.message)
    return _failed("internal_error", "Something went wrong while the picture was drawn.")


def _failed(code: str, message: str) -> Ending:
    return Ending("failed", Settle.ACK, generation_pb2.STATUS_FAILED, 0.0, code, message)
