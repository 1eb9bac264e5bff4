"""What this service counts: acceptances, endings, queues, the outboxes."""

from __future__ import annotations

from collections.abc import Mapping

from imagineo.v1 import generation_pb2, job_pb2
from prometheus_client import Counter, Gauge

from services.status.repository.listing import OutboxSizes, QueueLine


class StatusMetrics:
    """Made once a process."""

    def __init__(self) -> None:
        self._known_slugs: set[str] = set()
        self.accepted = Counter("imagineo_status_runs_accepted_total", "Runs accepted.")
        self.ended = Counter("imagineo_status_runs_ended_total", "Runs that became terminal.", ["status"])
        for word in ("completed", "failed", "canceled", "expired"):
            self.ended.labels(word)  # from 0 on, lest the first of each is overlooked
        self.republished = Counter("imagineo_status_relay_published_total", "Jobs that the relay published.")
        self.announced = Counter("imagineo_status_endings_announced_total", "Endings that the stream EVENTS has.")
        self._unpublished = Gauge("imagineo_status_outbox_jobs", "Unfinished runs not known to be published.")
        self._unpublished_age = Gauge("imagineo_status_outbox_job_age_seconds", "Age of the oldest of them.")
        self._held = Gauge("imagineo_status_held_runs", "Runs that wait for their turn in a batch.")
        self._unannounced = Gauge("imagineo_status_outbox_endings", "Endings not announced yet.")
        self._unannounced_age = Gauge("imagineo_status_outbox_ending_age_seconds", "Age of the oldest of them.")
        self._workers = Gauge("imagineo_status_workers", "Workers that give signs of life.", ["base_model"])
        self.workers_lost = Counter("imagineo_status_workers_lost_total", "Workers that fell silent with runs in hand.")
        self._depth = Gauge("imagineo_status_queue_runs", "Queued runs.", ["base_model", "lane"])
        self._age = Gauge("imagineo_status_queue_age_seconds", "Age of the oldest queued run.", ["base_model", "lane"])

    def end(self, status: int) -> None:
        """Count an ending."""
        self.ended.labels(status_word(status)).inc()

    def show_outboxes(self, sizes: OutboxSizes) -> None:
        """Show what waits in them."""
        self._unpublished.set(sizes.unpublished)
        self._unpublished_age.set(sizes.unpublished_age_s)
        self._unannounced.set(sizes.unannounced)
        self._unannounced_age.set(sizes.unannounced_age_s)
        self._held.set(sizes.held)

    def show_workers(self, counts: Mapping[str, int]) -> None:
        """Show how many workers there are, by base model; 0 for those that have lost theirs."""
        for slug in {*counts, *self._known_slugs}:
            self._workers.labels(slug).set(counts.get(slug, 0))
        self._known_slugs |= counts.keys()

    def show_queues(self, lines: list[QueueLine]) -> None:
        """Show the queues as they stand; one that is gone shows nothing."""
        self._depth.clear()
        self._age.clear()
        self._known_slugs |= {line.base_model_slug for line in lines}
        for line in lines:
            lane = job_pb2.Lane.Name(line.lane).removeprefix("LANE_").lower()  # type: ignore[arg-type]
            self._depth.labels(line.base_model_slug, lane).set(line.waiting_count)
            self._age.labels(line.base_model_slug, lane).set(line.oldest_age_s)


def status_word(status: int) -> str:
    """`completed` for STATUS_COMPLETED."""
    return generation_pb2.Status.Name(status).removeprefix("STATUS_").lower()  # type: ignore[arg-type]
