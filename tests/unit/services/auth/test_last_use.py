from __future__ import annotations

from datetime import UTC, datetime

import pytest
from imagineo import errors

from services.auth.last_use import LastUse

NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


async def test_a_key_is_written_once_a_minute_however_often_it_is_used():
    use, written = LastUse(), []

    async def write(pending):
        written.append(dict(pending))

    for second in (30, 40, 50):
        use.note(["key_1"], NOON.replace(second=second))
        await use.flush(write)
    use.note(["key_1"], NOON.replace(minute=1))
    await use.flush(write)
    assert written == [{"key_1": NOON.replace(second=0)}, {"key_1": NOON.replace(minute=1, second=0)}]


async def test_what_could_not_be_written_is_written_later():
    use, written = LastUse(), []

    async def fail(_pending):
        raise errors.Unavailable

    async def write(pending):
        written.append(dict(pending))

    use.note(["key_1"], NOON)
    with pytest.raises(errors.Unavailable):
        await use.flush(fail)
    await use.flush(write)
    assert written == [{"key_1": NOON.replace(second=0)}]
