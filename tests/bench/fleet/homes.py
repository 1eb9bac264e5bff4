"""The order of workers for a LoRA, looked up once: the ring's own look takes a while for a thousand workers."""

from __future__ import annotations

from collections.abc import Iterator


class Homes:
    """A LoRA's homes in their order, as far as anybody looked."""

    def __init__(self, homes: Iterator[str]) -> None:
        self._rest = homes
        self._known: list[str] = []

    def __iter__(self) -> Iterator[str]:
        yield from self._known
        for name in self._rest:
            self._known.append(name)
            yield name
