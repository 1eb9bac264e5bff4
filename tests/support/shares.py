"""How `make test JOBS=2` shares the tests out between processes: what a folder starts for all its tests stays in one.

The shares that start a whole platform come first, so that the short ones even out the end.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Each is one share, the longest first; of the other folders each module is one.
_FOLDERS: Final = (
    "tests/e2e",
    "tests/e2e/sdk",
    "tests/faults",
    "tests/browser",
    "tests/images",
    "tests/chart",
    "tests/architecture",
)


def share_of(nodeid: str) -> str:
    """The share that a test is in."""
    inside = [folder for folder in _FOLDERS if nodeid.startswith(f"{folder}/")]
    return max(inside, key=len) if inside else nodeid.partition("::")[0]


def put_in_order(items: list[pytest.Item]) -> None:
    """Put the long shares first."""
    places = {share: place for place, share in enumerate(_FOLDERS)}
    items.sort(key=lambda item: places.get(share_of(item.nodeid), len(places)))


class ShareScheduling(LoadScopeScheduling):
    """Gives each process a whole share at a time, in the order of the tests."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which is not how long they take
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)
