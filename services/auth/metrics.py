"""What an operator sees of this service besides its RPCs: decisions by reason, and what the one statement takes."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from imagineo.telemetry.metrics import LATENCY_BUCKETS
from prometheus_client import Counter, Histogram

from services.auth.admission import Verdict


class AuthMetrics:
    """Make it once a process: metric names are global."""

    def __init__(self) -> None:
        self._decisions = Counter("imagineo_auth_decisions_total", "Checks answered, by reason.", ["reason"])
        self._statement_seconds = Histogram(
            "imagineo_auth_admit_seconds", "Time of the statement that counts and reserves.", buckets=LATENCY_BUCKETS
        )
        self._settled = Counter("imagineo_auth_settlements_total", "Reservations closed, by whom.", ["source"])

    def observe(self, verdicts: Sequence[Verdict], statement_s: float | None) -> None:
        """Count decisions; a list whose keys are all unknown needs no statement."""
        for reason, count in Tally(verdict.error.code if verdict.error else "allowed" for verdict in verdicts).items():
            self._decisions.labels(reason).inc(count)
        if statement_s is not None:
            self._statement_seconds.observe(statement_s)

    def settled(self, source: str, count: int) -> None:
        """Count reservations closed by `events`, `sweeper` or `release`."""
        self._settled.labels(source).inc(count)
