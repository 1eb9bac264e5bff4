"""Names on the broker: the subject of each kind of message and the durable queues. Pure; who speaks is in `port`."""

from __future__ import annotations

import re
from typing import Final

from imagineo.v1 import job_pb2

#: A job that is neither acked nor extended for so long goes to another worker.
ACK_WAIT_S: Final = 8.0

#: Best first.
LANES: Final = (job_pb2.LANE_PREMIUM, job_pb2.LANE_BASIC, job_pb2.LANE_FREE)

JOBS: Final = "imagineo.v1.jobs.>"
OUTCOMES: Final = "imagineo.v1.outcomes.>"
EVENTS: Final = "imagineo.v1.events.>"
EVERY_PROGRESS: Final = "imagineo.v1.progress.*"
EVERY_CHANGE: Final = "imagineo.v1.changes.*"
EVERY_WORKER: Final = "imagineo.v1.workers.*"
EVERY_NUDGE: Final = "imagineo.v1.nudges.*"
EVERY_CANCEL: Final = "imagineo.v1.cancels.*"
EVERY_PREVIEW_ASK: Final = "imagineo.v1.previews.ask.*"

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")


def token(text: str) -> str:
    """Write `text` as one token of a subject: `stable-diffusion-1.5` becomes `stable-diffusion-1=2E5`.

    Raises:
        ValueError: if it is empty.
    """
    if not text:
        raise ValueError("a subject's token cannot be empty")
    return _UNSAFE.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), text)


def lane_word(lane: job_pb2.Lane.ValueType) -> str:
    """Give `free`, `basic` or `premium`.

    Raises:
        ValueError: if the lane is not set.
    """
    if lane not in LANES:
        raise ValueError(f"there is no queue for lane {lane}")
    return job_pb2.Lane.Name(lane).removeprefix("LANE_").lower()


def job(base_model_slug: str, lane: job_pb2.Lane.ValueType) -> str:
    """Where the jobs of one base model and lane are published."""
    return f"imagineo.v1.jobs.{token(base_model_slug)}.{lane_word(lane)}"


def jobs_of(base_model_slug: str) -> str:
    """All lanes of one base model."""
    return f"imagineo.v1.jobs.{token(base_model_slug)}.*"


def queue(base_model_slug: str, lane: job_pb2.Lane.ValueType) -> str:
    """Name the durable queue that workers of one base model pull one lane from."""
    return f"worker-{token(base_model_slug)}-{lane_word(lane)}"


def queue_subject(queue: str) -> str:
    """Give the subject that a queue holds.

    Raises:
        ValueError: if `queue` is not one of `queue()`'s.
    """
    found = re.fullmatch(r"worker-([A-Za-z0-9_=-]+)-(free|basic|premium)", queue)
    if found is None:
        raise ValueError(f"{queue} is not the name of a queue")
    return f"imagineo.v1.jobs.{found[1]}.{found[2]}"


def nudge(worker_id: str) -> str:
    """Where a worker hears that a job it is the best for waits in its queue, by the LoRA's model id; lossy."""
    return f"imagineo.v1.nudges.{token(worker_id)}"


def progress(run_id: str) -> str:
    """Where a worker tells a run's steps; lossy."""
    return f"imagineo.v1.progress.{token(run_id)}"


def outcome(run_id: str) -> str:
    """Where a worker tells how a run ended; durable."""
    return f"imagineo.v1.outcomes.{token(run_id)}"


def change(run_id: str) -> str:
    """Where status hints that a run changed; lossy."""
    return f"imagineo.v1.changes.{token(run_id)}"


def event(status: str, run_id: str) -> str:
    """Where status announces that a run is terminal, by the status's lower-case word; durable."""
    return f"imagineo.v1.events.{token(status)}.{token(run_id)}"


def worker(worker_id: str) -> str:
    """Where a worker gives its sign of life; lossy."""
    return f"imagineo.v1.workers.{token(worker_id)}"


def cancel(run_id: str) -> str:
    """Where status asks the worker of a run to stop; lossy."""
    return f"imagineo.v1.cancels.{token(run_id)}"


def preview(run_id: str) -> str:
    """Where a worker shows a small picture of a run that it draws, while somebody asks for it; lossy."""
    return f"imagineo.v1.previews.{token(run_id)}"


def preview_ask(run_id: str) -> str:
    """Where the gateway asks for previews of a run, again and again while it wants them; lossy."""
    return f"imagineo.v1.previews.ask.{token(run_id)}"


def inboxes(name: str) -> str:
    """Below what a program that signs in by a name such as `worker gpu-1` hears replies: `_INBOX.worker.gpu-1`.

    The first word is the program's role, so that each role may be let listen to its own inboxes alone.
    """
    return ".".join(("_INBOX", *(token(word) for word in name.split())))


def kind(subject: str) -> str:
    """Give what is said on a subject, apart from whom it is about: `imagineo.v1.jobs`."""
    return ".".join(subject.split(".")[:3])


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject falls under a pattern: `*` is one token, a last `>` is one or more."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(given) > index
        if index >= len(given) or part not in ("*", given[index]):
            return False
    return len(wanted) == len(given)
