"""Wires the service: the only module that makes adapters. It starts while its dependencies are down and heals."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Final

from imagineo import process
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.postgres.pool import Database
from imagineo.rpc.channel import connect
from imagineo.rpc.client import check_health
from imagineo.rpc.server import RpcServer, watch_readiness
from imagineo.telemetry.metrics import RpcMetrics
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness
from imagineo.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
    generation_service_pb2_grpc,
)

from services.auth.account_servicer import AccountServicer
from services.auth.authorizer import Authorizer
from services.auth.key_cache import KeyCache
from services.auth.last_use import LastUse
from services.auth.letters import Letters
from services.auth.mail import post_of
from services.auth.member_repository import MemberRepository
from services.auth.metrics import AuthMetrics
from services.auth.passwords import Passwords
from services.auth.people_repository import PeopleRepository
from services.auth.repository import Repository
from services.auth.servicer import AuthServicer
from services.auth.sessions import Sessions
from services.auth.settings import Settings
from services.auth.settlement import Settler
from services.auth.sign_in import SignIn
from services.auth.sign_in_notes import SignInNotes
from services.auth.sweeper import Sweeper, asker
from services.auth.throttle import Throttle
from services.auth.verification import Verification
from services.auth.verification_repository import VerificationRepository

_SERVICE_NAME: Final = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name
_ACCOUNTS_NAME: Final = account_service_pb2.DESCRIPTOR.services_by_name["AccountService"].full_name
#: How long the audit log is kept.
AUDIT_AGE_S: Final = 400 * 86_400.0
#: At most so many rows of a kind are deleted at once.
_TIDY_ROWS: Final = 1_000


@dataclasses.dataclass(frozen=True, slots=True)
class Reception:
    """What lets people in, wired."""

    people: PeopleRepository
    members: MemberRepository
    verifications: VerificationRepository
    sessions: Sessions
    notes: SignInNotes
    sign_in: SignIn
    verification: Verification

    async def tidy(self) -> None:
        """Delete some of what is over."""
        await self.people.forget_over(_TIDY_ROWS)
        await self.verifications.forget_over()
        await self.members.forget_entries(AUDIT_AGE_S, _TIDY_ROWS)


@contextlib.contextmanager
def reception(
    database: Database,
    letters: Letters,
    *,
    passwords_at_once: int,
    sign_up_closed: bool = False,
    verified_mail_required: bool = False,
) -> Iterator[Reception]:
    """Wire what lets people in, over a database; operators' commands use it without a server."""
    repository, people, members = Repository(database), PeopleRepository(database), MemberRepository(database)
    verifications = VerificationRepository(database)
    sessions = Sessions(repository, people, verified_mail_required=verified_mail_required)
    notes = SignInNotes(people, verifications, letters)
    passwords = Passwords(passwords_at_once)
    throttle = Throttle(repository)
    try:
        sign_in = SignIn(
            people, members, passwords, throttle, letters, notes, sessions.forget, sign_up_closed=sign_up_closed
        )
        verification = Verification(people, verifications, throttle, letters, notes)
        yield Reception(people, members, verifications, sessions, notes, sign_in, verification)
    finally:
        passwords.close()


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    metrics: AuthMetrics | None,
    rpc_metrics: RpcMetrics | None,
    probes: Probes | None = None,
) -> AsyncIterator[int]:
    """Serve while the block runs; gives the bound port. Metrics are the process's and come from outside."""
    tls = settings.tls_identity()
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.open(
            settings.postgres_dsn.reveal(), application_name="imagineo-auth", max_size=settings.postgres_connections
        )
        stack.push_async_callback(database.close)
        broker = await JetStreamBroker.connect(
            settings.nats_url, name="auth", access=settings.nats_access, makes_streams=False
        )
        stack.push_async_callback(broker.close)
        channel = connect(settings.status_address, tls)
        stack.push_async_callback(channel.close, None)

        repository, cache, last_use = Repository(database), KeyCache(), LastUse()
        letters = Letters(
            post_of(settings.mail_url.reveal()), sender=settings.mail_from, public_url=settings.public_url
        )
        people = stack.enter_context(
            reception(
                database,
                letters,
                passwords_at_once=settings.passwords_at_once,
                sign_up_closed=settings.sign_up_closed,
                verified_mail_required=settings.verified_mail_required,
            )
        )
        authorizer = Authorizer(
            repository, cache, last_use, people.sessions, metrics, pages_per_minute=settings.pages_per_minute
        )
        statuses = asker(generation_service_pb2_grpc.GenerationServiceStub(channel))
        sweeper = Sweeper(repository, statuses, metrics, people.tidy)
        server = RpcServer(settings.listen, metrics=rpc_metrics, tls=tls)
        servicer = AuthServicer(repository, people.people, authorizer, cache, metrics)
        server.add(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, servicer, _SERVICE_NAME)
        accounts = AccountServicer(
            people.sign_in,
            people.verification,
            people.people,
            people.members,
            people.sessions.forget,
            servicer.forget_key,
        )
        server.add(account_service_pb2_grpc.add_AccountServiceServicer_to_server, accounts, _ACCOUNTS_NAME)
        port = await server.start()

        # NATS and status may be away: settling waits, authorizing goes on.
        readiness = Readiness(
            {
                "postgres": repository.check_schema,
                "nats": broker.check,
                "status": lambda: check_health(channel),
            },
            optional=("nats", "status"),
        )
        settler = Settler(repository, metrics)
        works = process.background(
            lambda: watch_readiness(server, readiness, probes),
            lambda: settler.run(broker),
            sweeper.run,
            lambda: last_use.run(repository.touch_keys),
            people.sessions.run,
            people.notes.run,
            letters.run,
        )
        await stack.enter_async_context(works)
        stack.push_async_callback(server.drain)
        yield port
