"""For those who run the platform: organizations with their plans, what waits, and who draws."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from imagineo import errors
from imagineo.v1 import account_service_pb2, auth_service_pb2, event_pb2, generation_service_pb2, job_pb2, member_pb2
from starlette.responses import Response

from services.gateway.accounts import PLAN_WORDS
from services.gateway.dashboard.visit import Visit
from services.gateway.rendering import moment

_LANES: Final = {job_pb2.LANE_FREE: "free", job_pb2.LANE_BASIC: "basic", job_pb2.LANE_PREMIUM: "premium"}
_PLANS: Final = {word: plan for plan, word in PLAN_WORDS.items()}


async def show(visit: Visit) -> Response:
    """The page; its live part asks again by itself."""
    _check(visit)
    readiness, queues = await asyncio.gather(visit.parts.readiness.problems(), _queues(visit))
    services = [{"name": name, "is_up": name not in readiness} for name in visit.parts.readiness.names]
    live = {"workers": [_worker(beat) for beat in visit.parts.warmth.workers()], "services": services, "queues": queues}
    if visit.request.headers.get("hx-request") == "true":
        return visit.page("admin/part.html", **live)
    asked = account_service_pb2.ListOrganizationsRequest(
        text=visit.asked("q"), page_size=50, page_token=visit.asked("cursor"), actor=visit.actor()
    )
    found = await visit.parts.peers.ask(visit.parts.peers.accounts.ListOrganizations, asked)
    return visit.page(
        "admin/show.html",
        organizations=[_organization(one) for one in found.organizations],
        next_cursor=found.next_page_token,
        text=visit.asked("q"),
        plans=list(_PLANS),
        **live,
    )


async def change_plan(visit: Visit) -> Response:
    """Give an organization another plan."""
    _check(visit)
    plan = visit.form.text("plan")
    if plan not in _PLANS:
        raise errors.InvalidParameter.of("plan", "one of " + ", ".join(_PLANS))
    asked = auth_service_pb2.UpdateOrganizationRequest(
        organization_id=visit.name("organization_id"), plan=_PLANS[plan], actor=visit.actor()
    )
    await visit.parts.peers.ask(visit.parts.peers.auth.UpdateOrganization, asked)
    return visit.go("/admin", "plan-changed")


def _check(visit: Visit) -> None:
    """Raises PermissionDenied for all who do not run the platform."""
    if not visit.principal.is_administrator:
        raise errors.PermissionDenied("This page is for those who run the platform.")


async def _queues(visit: Visit) -> list[dict[str, Any]]:
    """What waits; nothing while status cannot say, which the parts tell."""
    peers = visit.parts.peers
    try:
        found = await peers.ask(peers.status.ListQueues, generation_service_pb2.ListQueuesRequest())
    except errors.Unavailable:
        return []
    return [
        {"base_model": one.base_model_slug, "lane": _LANES.get(one.lane, ""), "waiting": one.waiting_count}
        for one in found.queues
    ]


def _worker(beat: event_pb2.WorkerBeat) -> dict[str, Any]:
    return {
        "name": beat.worker_id,
        "base_models": list(beat.base_model_slugs),
        "slots": beat.slots,
        "running": len(beat.running_run_ids),
        "pace": beat.megapixel_steps_per_s,
        "warm": len(beat.warm_model_ids),
    }


def _organization(one: member_pb2.OrganizationSummary) -> dict[str, Any]:
    return {
        "id": one.organization_id,
        "name": one.name,
        "plan": PLAN_WORDS.get(one.plan, "free"),
        "members": one.members_count,
        "keys": one.keys_count,
        "images_used": one.images_used,
        "images_per_month": one.images_per_month,
        "created_at": moment(one.created_at),
    }
