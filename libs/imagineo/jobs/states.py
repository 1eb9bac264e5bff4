"""The state machine of a run: what each event does to it, and who may speak for it.

It decides only; `services.status` stores the decision in the transaction that read the run. A run is owned by the
attempt that claimed it last (the fencing token): words of an older attempt change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, TypeAlias

from imagineo.v1 import generation_pb2 as pb

Status: TypeAlias = "pb.Status.ValueType"

#: How long a claim lives without a renewal.
LEASE: Final = timedelta(seconds=8)
#: A run that asked to stop is given up when its worker has been silent for this long after its lease ended.
GIVE_UP_CANCELING: Final = timedelta(seconds=10)
#: The same for a run that has no attempt left.
GIVE_UP_RUNNING: Final = timedelta(seconds=20)
#: Claims that a run may lose its worker in; handed-back ones do not count.
MAX_ATTEMPTS: Final = 3

UNFINISHED: Final = frozenset({pb.STATUS_QUEUED, pb.STATUS_RUNNING, pb.STATUS_CANCELING})
TERMINAL: Final = frozenset({pb.STATUS_COMPLETED, pb.STATUS_FAILED, pb.STATUS_CANCELED, pb.STATUS_EXPIRED})

#: Where a run may go from where it is; a status that is absent is terminal.
STEPS: Final[dict[Status, frozenset[Status]]] = {
    pb.STATUS_QUEUED: frozenset(
        {pb.STATUS_RUNNING, pb.STATUS_CANCELED, pb.STATUS_EXPIRED, pb.STATUS_FAILED},
    ),
    pb.STATUS_RUNNING: frozenset(
        {pb.STATUS_QUEUED, pb.STATUS_CANCELING, pb.STATUS_COMPLETED, pb.STATUS_FAILED, pb.STATUS_CANCELED},
    ),
    pb.STATUS_CANCELING: frozenset({pb.STATUS_COMPLETED, pb.STATUS_CANCELED}),
}

WORKER_LOST: Final = "worker_lost"


@dataclass(frozen=True, slots=True)
class Run:
    """What the rules look at. All times are aware UTC."""

    run_id: str
    status: Status
    attempt: int = 0
    """The fencing token: how often the run was claimed."""
    handed_back: int = 0
    """How many of the claims were given back unfinished by their worker."""
    progress: int = 0
    worker_id: str = ""
    incarnation: str = ""
    lease_until: datetime | None = None
    deadline: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    version: int = 1

    @property
    def is_over(self) -> bool:
        """Whether the run is terminal."""
        return self.status in TERMINAL

    @property
    def is_late(self) -> bool:
        """Whether the run has a deadline and no worker started it yet."""
        return self.deadline is not None and self.started_at is None

    @property
    def is_spent(self) -> bool:
        """Whether the run has no attempt left."""
        return self.attempt - self.handed_back >= MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker asks for the run."""

    worker_id: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """A worker keeps its claim."""

    worker_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Ending:
    """A worker says how its attempt ended; `STATUS_QUEUED` hands the run back."""

    attempt: int
    status: Status
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The owner wants the run to stop."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The platform looks whether time has decided: a deadline, or a worker that stays silent."""


Event = Claim | Renewal | Ending | Cancellation | Inspection


class Verdict(Enum):
    """How an event went."""

    GRANTED = auto()
    """The claim holds."""
    HELD = auto()
    """Another worker's lease lives."""
    OVER = auto()
    """The run is terminal, or became so by this claim."""
    KEPT = auto()
    """The lease is renewed."""
    CANCEL = auto()
    """The lease is renewed, and the worker is to stop."""
    LOST = auto()
    """The lease belongs to somebody else or to nobody."""
    APPLIED = auto()
    """The event changed the run."""
    UNCHANGED = auto()
    """The event had nothing to do: it came again, too late or from an older attempt."""


def decide(run: Run, event: Event, now: datetime) -> tuple[Run, Verdict]:
    """Apply one event to a run at the moment `now`; the version grows where the run's public face changes."""
    match event:
        case Claim():
            return _claim(run, event, now)
        case Renewal():
            return _renew(run, event, now)
        case Ending():
            return _end(run, event, now)
        case Cancellation():
            return _cancel(run, now)
        case Inspection():
            return _inspect(run, now)


def _claim(run: Run, claim: Claim, now: datetime) -> tuple[Run, Verdict]:  # noqa: PLR0911 - each ending of a claim has its line
    if run.is_over:
        return run, Verdict.OVER
    if run.status == pb.STATUS_QUEUED:
        if run.is_late and run.deadline is not None and run.deadline <= now:
            return _finish(run, pb.STATUS_EXPIRED, now), Verdict.OVER
        return _grant(run, claim, now)
    is_same_worker = run.worker_id == claim.worker_id
    is_same_life = is_same_worker and run.incarnation == claim.incarnation
    is_held = run.lease_until is not None and run.lease_until > now and not is_same_worker
    if is_held:
        return run, Verdict.HELD
    if run.status == pb.STATUS_CANCELING:
        return _finish(run, pb.STATUS_CANCELED, now), Verdict.OVER
    if is_same_life:
        return replace(run, lease_until=now + LEASE), Verdict.GRANTED
    return _grant(run, claim, now)


def _grant(run: Run, claim: Claim, now: datetime) -> tuple[Run, Verdict]:
    if run.is_spent:
        return _lose(run, now), Verdict.OVER
    granted = replace(
        run,
        status=pb.STATUS_RUNNING,
        attempt=run.attempt + 1,
        worker_id=claim.worker_id,
        incarnation=claim.incarnation,
        lease_until=now + LEASE,
        started_at=run.started_at or now,
        version=run.version + 1,
    )
    return granted, Verdict.GRANTED


def _renew(run: Run, renewal: Renewal, now: datetime) -> tuple[Run, Verdict]:
    is_owner = run.attempt == renewal.attempt and run.worker_id == renewal.worker_id
    if not is_owner or run.status not in (pb.STATUS_RUNNING, pb.STATUS_CANCELING):
        return run, Verdict.LOST
    verdict = Verdict.CANCEL if run.status == pb.STATUS_CANCELING else Verdict.KEPT
    return replace(run, lease_until=now + LEASE), verdict


def _end(run: Run, ending: Ending, now: datetime) -> tuple[Run, Verdict]:
    is_owner = run.attempt == ending.attempt and run.status in (pb.STATUS_RUNNING, pb.STATUS_CANCELING)
    if not is_owner or ending.status not in (*TERMINAL - {pb.STATUS_EXPIRED}, pb.STATUS_QUEUED):
        return run, Verdict.UNCHANGED
    if ending.status == pb.STATUS_COMPLETED:
        return _finish(run, pb.STATUS_COMPLETED, now), Verdict.APPLIED
    if run.status == pb.STATUS_CANCELING:
        return _finish(run, pb.STATUS_CANCELED, now), Verdict.APPLIED
    if ending.status == pb.STATUS_QUEUED:
        return _hand_back(run), Verdict.APPLIED
    if ending.status == pb.STATUS_FAILED:
        failed = replace(run, error_code=ending.error_code, error_message=ending.error_message)
        return _finish(failed, pb.STATUS_FAILED, now), Verdict.APPLIED
    return _finish(run, ending.status, now), Verdict.APPLIED


def _hand_back(run: Run) -> Run:
    return replace(
        run,
        status=pb.STATUS_QUEUED,
        handed_back=run.handed_back + 1,
        worker_id="",
        incarnation="",
        lease_until=None,
        version=run.version + 1,
    )


def _cancel(run: Run, now: datetime) -> tuple[Run, Verdict]:
    if run.status == pb.STATUS_QUEUED:
        return _finish(run, pb.STATUS_CANCELED, now), Verdict.APPLIED
    if run.status == pb.STATUS_RUNNING:
        return replace(run, status=pb.STATUS_CANCELING, version=run.version + 1), Verdict.APPLIED
    return run, Verdict.UNCHANGED


def _inspect(run: Run, now: datetime) -> tuple[Run, Verdict]:
    if run.status == pb.STATUS_QUEUED and run.is_late and run.deadline is not None and run.deadline <= now:
        return _finish(run, pb.STATUS_EXPIRED, now), Verdict.APPLIED
    if run.lease_until is None:
        return run, Verdict.UNCHANGED
    silence = now - run.lease_until
    if run.status == pb.STATUS_CANCELING and silence > GIVE_UP_CANCELING:
        return _finish(run, pb.STATUS_CANCELED, now), Verdict.APPLIED
    if run.status == pb.STATUS_RUNNING and run.is_spent and silence > GIVE_UP_RUNNING:
        return _lose(run, now), Verdict.APPLIED
    return run, Verdict.UNCHANGED


def _lose(run: Run, now: datetime) -> Run:
    message = f"The run was started {MAX_ATTEMPTS} times, and each time its worker was lost before the image was done."
    return _finish(replace(run, error_code=WORKER_LOST, error_message=message), pb.STATUS_FAILED, now)


def _finish(run: Run, status: Status, now: datetime) -> Run:
    return replace(
        run,
        status=status,
        progress=100 if status == pb.STATUS_COMPLETED else run.progress,
        lease_until=None,
        finished_at=now,
        version=run.version + 1,
    )
