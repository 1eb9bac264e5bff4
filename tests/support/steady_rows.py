"""Engines that step sixteen rows at once, unmeasured: what a busy machine measures would change what is tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from services.worker.engine.model import Model

ROWS: Final = 16
#: The measuring itself.
MEASURE: Final = Model.measure


@contextmanager
def steady_rows() -> Iterator[None]:
    """Have no base model measured that is opened while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "measure", lambda model, *_: setattr(model, "native_row_cap", ROWS))
        yield
