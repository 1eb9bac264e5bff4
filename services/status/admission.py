"""Who is admitted: the pure rule behind Accept. It decides over one batch, in its order; the repository stores it.

The organizations' counters are locked while this decides, so the cap is exact under any concurrency.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from imagineo import errors
from imagineo.broker.subjects import LANES
from imagineo.ids import is_id
from imagineo.v1 import generation_service_pb2 as pb
from imagineo.wire.times import moment

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TEXT_MAX_CHARACTERS = 255
_YEAR_9999_S = 253_370_764_800
_METADATA_MAX_BYTES = 65_536
_URL_MAX_CHARACTERS = 2_048

#: A client has its answer within 3 s, and the gateway takes back within this time what it could not hear of. What comes
#: later lay before a frozen status: its client was refused long ago. Wide, because two hosts' clocks differ.
STALE_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an idempotency key answered when it was first used."""

    run_id: str
    body_sha256: bytes
    seed: int
    estimated_time_s: int


@dataclass(frozen=True, slots=True)
class Known:
    """A run that is there already."""

    organization_id: str
    seed: int
    estimated_time_s: int


Key = tuple[str, str]
"""Organization and idempotency key."""


@dataclass(frozen=True, slots=True)
class Books:
    """What is stored, as locked by this transaction."""

    unfinished: Mapping[str, int]
    earlier: Mapping[Key, Earlier]
    known: Mapping[str, Known]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A submission with the estimate that it would be answered."""

    submission: pb.Submission
    estimated_time_s: int

    @property
    def organization_id(self) -> str:
        """Who owns the run."""
        return self.submission.job.organization_id

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.submission.job.run_id

    @property
    def key(self) -> Key | None:
        """The idempotency key, within its organization; None if there is none."""
        return (self.organization_id, self.submission.idempotency_key) if self.submission.idempotency_key else None


Answer = pb.Acceptance | errors.ImagineoError


def check(submission: pb.Submission, now: datetime) -> None:
    """Refuse what cannot be stored; such a submission must not reach its list mates' transaction.

    Raises:
        InvalidParameter: naming the field.
        Unavailable: if it comes so late that nobody waits for it any more.
    """
    job = submission.job
    if job.HasField("accepted_at") and now - moment(job.accepted_at) > STALE_AFTER:
        raise errors.Unavailable("The submission came too late.")
    if not is_id(job.run_id, "gen"):
        raise errors.InvalidParameter.of("run_id", "an id of the form gen_…")
    for name in ("organization_id", "base_model_slug"):  # they become parts of paths and subjects
        if not _NAME.fullmatch(getattr(job, name)):
            raise errors.InvalidParameter.of(name, "1 to 128 letters, digits, dots, dashes or underscores")
    texts = {
        "key_id": submission.key_id,
        "idempotency_key": submission.idempotency_key,
        "model_id": job.parameters.model_id,
    }
    for name, text in texts.items():
        if "\0" in text or len(text) > _TEXT_MAX_CHARACTERS:
            raise errors.InvalidParameter.of(name, f"at most {_TEXT_MAX_CHARACTERS} characters without NUL")
    _check_url(submission.webhook_url)
    if job.lane not in LANES:
        raise errors.InvalidParameter.of("lane", "one of the three lanes")
    if job.HasField("deadline") and not 0 <= job.deadline.seconds <= _YEAR_9999_S:
        raise errors.InvalidParameter.of("deadline", "a moment of the years 1970 to 9998")
    if sum(len(name) + len(value) for name, value in submission.metadata.items()) > _METADATA_MAX_BYTES:
        raise errors.InvalidParameter.of("metadata", f"at most {_METADATA_MAX_BYTES} bytes")


def _check_url(url: str) -> None:
    if len(url) > _URL_MAX_CHARACTERS or not (url.isascii() and url.isprintable()):
        raise errors.InvalidParameter.of("webhook_url", f"at most {_URL_MAX_CHARACTERS} visible ASCII characters")


def admit(candidates: Sequence[Candidate], books: Books) -> tuple[list[Answer], list[Candidate]]:
    """Answer each candidate, in order, and list those to store."""
    unfinished = dict(books.unfinished)
    earlier, known = dict(books.earlier), dict(books.known)
    answers: list[Answer] = []
    admitted: list[Candidate] = []
    for candidate in candidates:
        answer = _repeated(candidate, earlier, known)
        if answer is None:
            taken, limit = unfinished.get(candidate.organization_id, 0), candidate.submission.queued_runs_limit
            answer = _full(limit) if taken >= limit else _accepted(candidate)
            if isinstance(answer, pb.Acceptance):
                unfinished[candidate.organization_id] = taken + 1
                _remember(candidate, earlier, known)
                admitted.append(candidate)
        answers.append(answer)
    return answers, admitted


def admit_together(candidates: Sequence[Candidate], books: Books) -> tuple[list[pb.Acceptance], list[Candidate]]:
    """Answer candidates of one organization that are admitted all or none, and list those to store.

    Raises:
        QueueFull: if there is no room for all of them.
        ImagineoError: what any of them is refused with.
    """
    answers, admitted = admit(candidates, books)
    accepted: list[pb.Acceptance] = []
    for answer in answers:
        if isinstance(answer, errors.QueueFull):
            raise _full_of(len(candidates), books.unfinished.get(candidates[0].organization_id, 0), answer)
        if isinstance(answer, errors.ImagineoError):
            raise answer
        accepted.append(answer)
    if 0 < len(admitted) < len(candidates):
        raise errors.IdempotencyKeyReused("The idempotency key was used before for some of the runs.")
    return accepted, admitted


def _repeated(candidate: Candidate, earlier: Mapping[Key, Earlier], known: Mapping[str, Known]) -> Answer | None:
    run = known.get(candidate.run_id)
    if run is not None:
        if run.organization_id != candidate.organization_id:
            return errors.AlreadyExists("There is a run with this run_id already.")
        return pb.Acceptance(run_id=candidate.run_id, seed=run.seed, estimated_time_s=run.estimated_time_s)
    first = earlier.get(candidate.key) if candidate.key else None
    if first is None:
        return None
    return replay(first, candidate.submission.body_sha256)


def replay(first: Earlier, body_sha256: bytes) -> Answer:
    """Answer a key that was used before: the same once more, or a refusal of another body."""
    if not hmac.compare_digest(first.body_sha256, body_sha256):
        return errors.IdempotencyKeyReused()
    return pb.Acceptance(run_id=first.run_id, replayed=True, seed=first.seed, estimated_time_s=first.estimated_time_s)


def _accepted(candidate: Candidate) -> pb.Acceptance:
    seed = candidate.submission.job.parameters.seed
    return pb.Acceptance(run_id=candidate.run_id, seed=seed, estimated_time_s=candidate.estimated_time_s)


def _full(limit: int) -> errors.QueueFull:
    message = f"The account has {limit} unfinished runs, as many as its plan allows. Wait for one of them to end."
    return errors.QueueFull(message, metadata={"limit": str(limit)}, retry_after_s=5.0)


def _full_of(wanted: int, taken: int, refusal: errors.QueueFull) -> errors.QueueFull:
    if wanted == 1:
        return refusal
    limit = refusal.metadata["limit"]
    message = f"The account has {taken} unfinished runs and {wanted} more are asked for; its plan allows {limit}."
    return errors.QueueFull(message, metadata={"limit": limit}, retry_after_s=5.0)


def _remember(candidate: Candidate, earlier: dict[Key, Earlier], known: dict[str, Known]) -> None:
    seed, estimate_s = candidate.submission.job.parameters.seed, candidate.estimated_time_s
    known[candidate.run_id] = Known(candidate.organization_id, seed, estimate_s)
    if candidate.key:
        digest = candidate.submission.body_sha256
        earlier[candidate.key] = Earlier(candidate.run_id, digest, seed, estimate_s)
