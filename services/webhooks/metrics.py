"""What an operator sees of this service besides its RPCs: what comes in, how attempts go, and what waits."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

#: Upper bounds in seconds, up to the time limit of an attempt.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)


class WebhookMetrics:
    """Make it once a process: metric names are global."""

    def __init__(self) -> None:
        self.queued = Counter("imagineo_webhooks_queued_total", "Deliveries queued.")
        self.attempts = Counter("imagineo_webhooks_attempts_total", "Attempts made, by how they ended.", ["outcome"])
        self.attempt_seconds = Histogram("imagineo_webhooks_attempt_seconds", "Time of an attempt.", buckets=_BUCKETS)
        self.switched_off = Counter(
            "imagineo_webhooks_switched_off_total", "Endpoints switched off, by why.", ["reason"]
        )
        self.in_flight = Gauge("imagineo_webhooks_attempts_in_flight", "Attempts on their way.")
        self.pending = Gauge("imagineo_webhooks_pending", "Deliveries that wait for an attempt.")
        self.untried_seconds = Gauge(
            "imagineo_webhooks_oldest_untried_seconds",
            "Age of the oldest delivery that was never tried, of receivers that answer.",
        )
        self.oldest_seconds = Gauge("imagineo_webhooks_oldest_pending_seconds", "Age of the oldest pending delivery.")
