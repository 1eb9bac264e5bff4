"""`imagineo keys`, `usage` and `limits`."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer

from imagineo_client.command_line.outcomes import spoken
from imagineo_client.command_line.session import AsJson, Chosen, Limit, give, say, table

keys_app = typer.Typer(help="API keys.", no_args_is_help=True)
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A day, such as 2026-01-31.")]


@keys_app.command("list")
@spoken
def list_keys(context: typer.Context, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the keys, the revoked included; never their secrets."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        found = list(islice(client.keys.iterate(), limit))
    if as_json:
        give(found)
    else:
        rows = [
            (one.id, one.prefix + "…", one.name, "revoked" if one.revoked_at else "", one.last_used_at) for one in found
        ]
        table(("ID", "KEY", "NAME", "", "LAST USED"), rows)


@keys_app.command("create")
@spoken
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="For people.")],
    scope: Annotated[list[str] | None, typer.Option(help="What it may do; default: all you may.")] = None,
    monthly_images: Annotated[int | None, typer.Option(help="A budget of its own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its secret is printed this once."""
    fields = {"scopes": scope, "monthly_images": monthly_images}
    options: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    chosen: Chosen = context.obj
    with chosen.client() as client:
        made = client.keys.create(name, **options)
    if as_json:
        give(made)
    else:
        typer.echo(made.secret)
        say(f"{made.id}: keep the secret, it is not shown again.")


@keys_app.command("revoke")
@spoken
def revoke_key(
    context: typer.Context, key_id: Annotated[str, typer.Argument(help="key_…")], as_json: AsJson = False
) -> None:
    """End a key."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        client.keys.revoke(key_id)
    if as_json:
        give({"id": key_id, "revoked": True})
    else:
        say(f"{key_id} is revoked.")


@spoken
def usage(
    context: typer.Context,
    from_day: Day = None,
    to_day: Day = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Images and work by day, key and model."""
    first, last = (day.date() if day else None for day in (from_day, to_day))
    chosen: Chosen = context.obj
    with chosen.client() as client:
        page = client.usage.list(limit=1, from_day=first, to_day=last)
        page.usage = list(islice(client.usage.iterate(from_day=first, to_day=last), limit))
    if as_json:
        give({"usage": page.usage, "total": page.total})
        return
    rows: list[tuple[object, ...]] = [
        (one.day, one.model_id, one.key_id, one.images, f"{one.megapixel_steps:.1f}", f"{one.device_seconds:.0f}")
        for one in page.usage
    ]
    total = page.total
    rows.append(("total", "", "", total.images, f"{total.megapixel_steps:.1f}", f"{total.device_seconds:.0f}"))
    table(("DAY", "MODEL", "KEY", "IMAGES", "MEGAPIXEL-STEPS", "DEVICE SECONDS"), rows)


@spoken
def limits(context: typer.Context, as_json: AsJson = False) -> None:
    """Every limit of this key, and what is left."""
    chosen: Chosen = context.obj
    with chosen.client() as client:
        found = client.limits.get()
    if as_json:
        give(found)
        return
    minute, month, queue = found.requests_per_minute, found.images_per_month, found.queued_runs
    rows = [
        ("requests a minute", minute.remaining, minute.limit, minute.resets_at),
        ("images a month", month.remaining, month.limit, month.resets_at),
        ("queued runs", queue.remaining, queue.limit, None),
    ]
    table((f"PLAN {found.plan}", "LEFT", "OF", "UNTIL"), rows)
