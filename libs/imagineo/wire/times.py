"""Moments on the wire: aware UTC datetimes here, `google.protobuf.Timestamp` there. Absence is the caller's matter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload

from google.protobuf.timestamp_pb2 import Timestamp


@overload
def timestamp(moment: datetime) -> Timestamp: ...
@overload
def timestamp(moment: None) -> None: ...
@overload
def timestamp(moment: datetime | None) -> Timestamp | None: ...
def timestamp(moment: datetime | None) -> Timestamp | None:
    """Put a moment on the wire; None stays None, which leaves a message's field unset.

    Raises:
        ValueError: if the moment has no time zone; a guessed one would be wrong by hours.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def moment(stamp: Timestamp) -> datetime:
    """Read a moment from the wire, aware, in UTC, to the microsecond."""
    return stamp.ToDatetime(tzinfo=UTC)
