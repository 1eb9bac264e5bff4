"""Copy-paste examples for the document: one `curl` command for each operation, made from what the operation says. Pure.

The commands read `IMAGINEO_URL` and `IMAGINEO_API_KEY` from the environment, and ids as `RUN_ID`,
`MODEL_ID` and the like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: What stands for a path's parameter where the operation names no value.
_VARIABLES: Final = {
    "run_id": "$RUN_ID",
    "model_id": "$MODEL_ID",
    "upload_id": "$UPLOAD_ID",
    "batch_id": "$BATCH_ID",
    "key_id": "$KEY_ID",
    "user_id": "$USER_ID",
    "invitation_id": "$INVITATION_ID",
    "webhook_id": "$WEBHOOK_ID",
    "delivery_id": "$DELIVERY_ID",
}

_MULTIPART: Final = "multipart/form-data"


def curl(method: str, path: str, operation: Mapping[str, Any], *, keyed: bool) -> str:
    """One command for a shell; an operation that says `curl` itself is taken at its word."""
    if own := operation.get("x-curl"):
        return str(own)
    values = {**_VARIABLES, **operation.get("x-path-values", {})}
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    lines = [f'curl -sS --fail-with-body "$IMAGINEO_URL{path}"']
    if method != "GET":
        lines[0] += f" -X {method}"
    if keyed:
        lines.append('-H "X-API-Key: $IMAGINEO_API_KEY"')
    content = operation.get("requestBody", {}).get("content", {})
    for name, value in content.get(_MULTIPART, {}).get("example", {}).items():
        lines += [f'-F "{name}={text}"' for text in (value if isinstance(value, list) else [value])]
    if (example := content.get("application/json", {}).get("example")) is not None:
        lines.append('-H "Content-Type: application/json"')
        # The body is in double quotes, so that the shell puts the ids in.
        text = json.dumps(example).replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'-d "{text}"')
    return " \\\n  ".join(lines)


def described(command: str) -> str:
    """The command as a piece of Markdown."""
    return f"```sh\n{command}\n```"
