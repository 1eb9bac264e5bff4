"""How fast this worker draws, in megapixel-steps per second of the size asked: what estimates are made from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: How much the newest run counts.
NEWEST_RATIO = 0.2


@dataclass(slots=True)
class Speed:
    """A running mean; 0 until the first run is drawn."""

    megapixel_steps_per_s: float = 0.0

    def observe(self, *, width_px: int, height_px: int, steps: int, device_s: float) -> None:
        """Count a drawn run."""
        if device_s <= 0:
            return
        newest = width_px * height_px * steps / 1e6 / device_s
        known = self.megapixel_steps_per_s or newest
        self.megapixel_steps_per_s = known + NEWEST_RATIO * (newest - known)
