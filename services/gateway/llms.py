"""`/llms.txt`: the document in a page of Markdown. Pure. Source: llmstxt.org."""

from __future__ import annotations

from typing import Any

_HEAD = """\
# {title}

> {description}

- Base URL: {server}. The whole description is [openapi.json](/openapi.json); people read [docs](/docs).
- Authenticate with the header `X-API-Key: <key>` or `Authorization: Bearer <key>`.
- `POST /v1/generate` answers at once with a `run_id`. Poll `GET /v1/generations/{{run_id}}`, follow its `/events`, or
  send `Prefer: wait=60` with the submit. Terminal statuses: completed, failed, canceled, expired.
- Errors are `{{"error": {{"code", "message", "param"?, "details"?, "request_id"}}}}`; on 429 and 503 wait `Retry-After`
  seconds.
- Be told instead of polling: `"webhook_url"` in a submit, or a webhook for all events at `POST /v1/webhooks`; what is
  posted is signed by the scheme of Standard Webhooks, and its `data` is the generation as `GET` shows it.
- Repeat a submit safely with `Idempotency-Key`; try one without cost with `"dry_run": true`.
- `POST /v1/batches` takes up to 1,000 submits as one: a list, JSON lines, or a sweep of lists; its results come as
  JSON lines or as a ZIP archive.

## Routes
"""


def summary(document: dict[str, Any]) -> str:
    """The Markdown of an OpenAPI document."""
    info, server = document["info"], document["servers"][0]["url"]
    place = "this host" if server == "/" else server
    lines = [_HEAD.format(title=info["title"], description=info["description"], server=place)]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines.append(f"### {method.upper()} {path}\n\n{operation['summary']}\n\n{operation['description']}\n")
    return "\n".join(lines)
