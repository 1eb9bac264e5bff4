"""What the schema tool has to be taught: bodies of JSON lines are text; headers that nobody knows are no fault."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def json_lines(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    return "x-schemathesis-unknown-property" not in (case.headers or {})
