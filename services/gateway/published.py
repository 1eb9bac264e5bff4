"""`python -m services.gateway.published` prints `/openapi.json` without a server; clients take their types from it."""

from __future__ import annotations

import json
import sys

from services.gateway.routes import ROUTES
from services.gateway.specification import document


def published() -> str:
    """The document of the route table, a line a value, so that a change of the API reads well in a diff."""
    return json.dumps(document(ROUTES), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(published())
