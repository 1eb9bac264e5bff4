"""The chart's rule of how many pods there are: KEDA's sum of the queues, and the horizontal autoscaler behind it.

The numbers are read from the chart's own ScaledObject; the rest is Kubernetes' algorithm with its defaults.
Source: kubernetes.io, "Horizontal Pod Autoscaling": tolerance, default behaviour, stabilization window.
"""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

_TOLERANCE: Final = 0.1
_UP: Final = [{"type": "Percent", "value": 100, "periodSeconds": 15}, {"type": "Pods", "value": 4, "periodSeconds": 15}]


@dataclass
class Autoscaler:
    """One ScaledObject."""

    SYNC_S: ClassVar[float] = 15.0

    minimum: int
    maximum: int
    target: int
    """Jobs of one pod."""
    stabilization_s: float
    down: list[dict[str, Any]]
    starting: set[int] = field(default_factory=set)
    """Pods whose weights load."""
    _wanted: collections.deque[tuple[float, int]] = field(default_factory=collections.deque)
    _changes: collections.deque[tuple[float, int]] = field(default_factory=collections.deque)

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> Autoscaler:
        """Read a ScaledObject."""
        spec = manifest["spec"]
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        return cls(
            minimum=max(1, spec["minReplicaCount"]),
            maximum=spec["maxReplicaCount"],
            target=int(spec["advanced"]["scalingModifiers"]["target"]),
            stabilization_s=down["stabilizationWindowSeconds"],
            down=down["policies"],
        )

    def wanted(self, jobs: int, pods: int, now_s: float) -> int:
        """How many pods there should be now, by so many jobs that wait or are drawn."""
        ratio = jobs / (self.target * max(1, pods))
        desired = pods if abs(ratio - 1) <= _TOLERANCE else math.ceil(jobs / self.target)
        desired = min(self.maximum, max(self.minimum, desired))
        self._wanted.append((now_s, desired))
        while self._wanted[0][0] < now_s - self.stabilization_s:
            self._wanted.popleft()
        if desired < pods:
            desired = min(pods, max(one for _, one in self._wanted))
            desired = max(desired, pods - self._allowed(self.down, pods, now_s, sign=-1))
        else:
            desired = min(desired, pods + self._allowed(_UP, pods, now_s, sign=1))
        if desired != pods:
            self._changes.append((now_s, desired - pods))
        return desired

    def _allowed(self, policies: list[dict[str, Any]], pods: int, now_s: float, *, sign: int) -> int:
        """The most that any policy still lets it change by."""
        while self._changes and self._changes[0][0] <= now_s - 600:
            self._changes.popleft()
        most = 0
        for policy in policies:
            done = sum(
                sign * change
                for at_s, change in self._changes
                if at_s > now_s - policy["periodSeconds"] and sign * change > 0
            )
            before = pods - sign * done
            limit = policy["value"] if policy["type"] == "Pods" else math.ceil(before * policy["value"] / 100)
            most = max(most, limit - done)
        return max(0, most)
