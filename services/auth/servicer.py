"""Translates AuthService between gRPC and this service's rules; decides nothing itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors, page_token
from imagineo.deadline import within
from imagineo.ids import is_id
from imagineo.rpc.coalesce import Coalescer
from imagineo.v1 import account_pb2, auth_service_pb2_grpc
from imagineo.v1 import auth_service_pb2 as pb
from imagineo.wire.times import moment, timestamp

from services.auth import wire
from services.auth.accounts import Permission
from services.auth.admission import Check, Verdict, next_month, rate_limit
from services.auth.authorizer import BUDGET_S, Authorizer
from services.auth.key_cache import KeyCache
from services.auth.metrics import AuthMetrics
from services.auth.pages import page_size
from services.auth.people_repository import PeopleRepository
from services.auth.plans import Limits
from services.auth.registry import Registry, check_organization_id, present
from services.auth.repository import Repository, Settlement
from services.auth.window import SECOND_US, admit

MAX_CHECKS: Final = 256
MAX_RUN_IDS: Final = 1000
MAX_DAYS: Final = 366
_LAST_ID: Final = "key_~"
#: Lists of checks that share one statement, and statements in the air: a second one resolves keys while one counts.
_MAX_LISTS: Final = 16
_MAX_STATEMENTS: Final = 2


class AuthServicer(auth_service_pb2_grpc.AuthServiceServicer):
    """One instance a process; every method is bounded by its statement's deadline."""

    def __init__(
        self,
        repository: Repository,
        people: PeopleRepository,
        authorizer: Authorizer,
        cache: KeyCache,
        metrics: AuthMetrics | None,
    ) -> None:
        self._people = people
        self._repository = repository
        self._registry = Registry(repository)
        self._cache = cache
        self._metrics = metrics
        self._lists: Coalescer[list[Check], list[Verdict]] = Coalescer(
            authorizer.authorize_lists, max_items=_MAX_LISTS, max_in_flight=_MAX_STATEMENTS
        )

    async def Authorize(self, request: pb.AuthorizeRequest, _context: object) -> pb.AuthorizeResponse:  # noqa: N802
        """Answer a list of checks."""
        if len(request.checks) > MAX_CHECKS:
            raise errors.InvalidParameter.of("checks", f"at most {MAX_CHECKS}")
        checks = [wire.check(message) for message in request.checks]
        for check in checks:
            if check.run_ids and (check.is_uncounted or check.is_page):
                field = "is_uncounted" if check.is_uncounted else "is_page"
                raise errors.InvalidParameter.of(f"checks.{field}", "false where images are reserved")
            if check.reserve_run_id and not is_id(check.reserve_run_id, "gen"):
                raise errors.InvalidParameter.of("checks.reserve_run_id", "empty or the id of a run")
            if not all(is_id(run_id, "gen") for run_id in check.more_run_ids):
                raise errors.InvalidParameter.of("checks.more_run_ids", "ids of runs")
        verdicts: list[Verdict] = []
        if checks:
            async with within(BUDGET_S):
                verdicts = await self._lists.submit(checks)
        return pb.AuthorizeResponse(verdicts=map(wire.verdict_message, verdicts))

    async def ReleaseReservations(  # noqa: N802
        self, request: pb.ReleaseReservationsRequest, _context: object
    ) -> pb.ReleaseReservationsResponse:
        """Give back images of runs that were never accepted."""
        if len(request.run_ids) > MAX_RUN_IDS:
            raise errors.InvalidParameter.of("run_ids", f"at most {MAX_RUN_IDS}")
        if request.run_ids:
            run_ids = dict.fromkeys(run_id for run_id in request.run_ids if is_id(run_id, "gen"))
            released = await self._repository.settle([Settlement(run_id, completed=False) for run_id in run_ids])
            if self._metrics:
                self._metrics.settled("release", released)
        return pb.ReleaseReservationsResponse()

    async def GetUsage(self, request: pb.GetUsageRequest, _context: object) -> pb.GetUsageResponse:  # noqa: N802
        """Read limits and use."""
        check_organization_id(request.organization_id)
        found = await self._repository.read_usage(request.organization_id)
        usage = present(found, "organization_id", request.organization_id)
        limit = usage.organization.limits.requests_per_minute
        _, admission = admit(usage.window, now_us=usage.now_us, count=0, limit=limit)
        now = datetime.fromtimestamp(usage.now_us / SECOND_US, UTC)
        return pb.GetUsageResponse(
            organization=wire.organization_message(usage.organization),
            rate_limit=wire.rate_limit_message(rate_limit(limit, admission, 0)),
            images_used=usage.images_used,
            images_reserved=usage.images_reserved,
            month_resets_at=timestamp(next_month(now)),
        )

    async def CreateOrganization(  # noqa: N802
        self, request: pb.CreateOrganizationRequest, _context: object
    ) -> pb.CreateOrganizationResponse:
        """Make an organization."""
        plan = wire.PLAN_OF.get(request.plan)
        made = await self._registry.create_organization(request.name, plan, request.organization_id)
        return pb.CreateOrganizationResponse(organization=wire.organization_message(made))

    async def UpdateOrganization(  # noqa: N802
        self, request: pb.UpdateOrganizationRequest, _context: object
    ) -> pb.UpdateOrganizationResponse:
        """Change plan or limits."""
        if request.plan != account_pb2.PLAN_UNSPECIFIED and request.plan not in wire.PLAN_OF:
            raise errors.InvalidParameter.of("plan", "free, basic or premium")
        limits = request.limits
        overrides = Limits(limits.requests_per_minute, limits.images_per_month, limits.queued_runs)
        await self._check_may_set(request)
        changed = await self._registry.update_organization(
            request.organization_id,
            wire.PLAN_OF.get(request.plan),
            overrides if request.HasField("limits") else None,
            request.name or None,
            request.omit_provenance if request.HasField("omit_provenance") else None,
            actor=wire.actor(request.actor),
        )
        return pb.UpdateOrganizationResponse(organization=wire.organization_message(changed))

    async def CreateKey(self, request: pb.CreateKeyRequest, _context: object) -> pb.CreateKeyResponse:  # noqa: N802
        """Make a key and show its secret."""
        expires_at = _moment(request.expires_at) if request.HasField("expires_at") else None
        permissions = [_permission(number) for number in request.permissions]
        key, secret = await self._registry.create_key(
            request.organization_id,
            request.name,
            permissions,
            expires_at,
            allowed_model_ids=list(request.allowed_model_ids),
            images_per_month=request.images_per_month,
            actor=wire.actor(request.actor),
        )
        return pb.CreateKeyResponse(key=wire.key_message(key), secret=secret)

    async def ListKeys(self, request: pb.ListKeysRequest, _context: object) -> pb.ListKeysResponse:  # noqa: N802
        """List an organization's keys."""
        organization_id = request.organization_id
        check_organization_id(organization_id)
        size = page_size(request.page_size)
        before = page_token.decode(organization_id, request.page_token, "key") if request.page_token else _LAST_ID
        keys = await self._repository.list_keys(organization_id, before, size + 1)
        more = page_token.encode(organization_id, keys[size - 1].key_id) if len(keys) > size else ""
        return pb.ListKeysResponse(keys=map(wire.key_message, keys[:size]), next_page_token=more)

    async def ListUsage(self, request: pb.ListUsageRequest, _context: object) -> pb.ListUsageResponse:  # noqa: N802
        """List usage by day, key and model."""
        check_organization_id(request.organization_id)
        today = datetime.now(UTC).date()
        first = _day("first_day", request.first_day) or today.replace(day=1)
        last = _day("last_day", request.last_day) or today
        if not 0 <= (last - first).days <= MAX_DAYS:
            raise errors.InvalidParameter.of("first_day", f"at most {MAX_DAYS} days before last_day, and not after it")
        if request.offset < 0:
            raise errors.InvalidParameter.of("offset", "0 or more")
        if "\0" in request.key_id + request.model_id:
            return pb.ListUsageResponse(total=account_pb2.DailyUsage())
        usage, total, rows_count = await self._repository.list_usage(
            request.organization_id,
            first,
            last,
            request.key_id,
            request.model_id,
            page_size(request.page_size),
            request.offset,
        )
        return pb.ListUsageResponse(
            usage=map(wire.daily_usage_message, usage),
            total=wire.daily_usage_message(total),
            rows_count=rows_count,
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, _context: object) -> pb.RevokeKeyResponse:  # noqa: N802
        """End a key."""
        check_organization_id(request.organization_id)
        if not is_id(request.key_id, "key"):
            raise errors.NotFound(metadata={"key_id": request.key_id})
        found = await self._repository.revoke_key(request.organization_id, request.key_id, wire.actor(request.actor))
        key, digest = present(found, "key_id", request.key_id)
        self.forget_key(digest)
        return pb.RevokeKeyResponse(key=wire.key_message(key))

    def forget_key(self, digest: bytes) -> None:
        """Drop a key that ended from the cache."""
        self._cache.forget(digest, asyncio.get_running_loop().time())

    async def _check_may_set(self, request: pb.UpdateOrganizationRequest) -> None:
        """Let only those who run the platform set plans and limits."""
        actor = request.actor
        if (request.plan or request.HasField("limits")) and (actor.user_id or actor.key_id):
            user = await self._people.user(actor.user_id) if actor.user_id else None
            if user is None or not user.is_administrator:
                raise errors.PermissionDenied("Only those who run the platform set plans and limits.")


def _day(name: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as problem:
        raise errors.InvalidParameter.of(name, "a day such as 2026-01-31") from problem


def _moment(stamp: Timestamp) -> datetime:
    try:
        return moment(stamp)
    except (ValueError, OverflowError) as problem:
        raise errors.InvalidParameter.of("expires_at", "a time between the years 1 and 9999") from problem


def _permission(number: account_pb2.Permission.ValueType) -> Permission:
    permission = wire.PERMISSION_OF.get(number)
    if permission is None:
        raise errors.InvalidParameter.of("permissions", "permissions that exist")
    return permission
