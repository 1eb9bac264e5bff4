"""What a refused log-in takes where the address is a user's and where it is nobody's: no time must tell them apart."""

from __future__ import annotations

import statistics
import time
import uuid
from typing import Any

import grpc
from imagineo.v1 import account_pb2, account_service_pb2_grpc
from imagineo.v1 import account_service_pb2 as pb

from tests.bench.platform import platform
from tests.bench.report import Report
from tests.support.platform import new_account
from tests.support.tenants import new_user

_USERS = 60
#: Of the time of a known address. A network's own moves hide far more.
_MUST_RATIO = 0.05


def run(report: Report) -> None:
    """Print both medians, and how far they are apart."""
    with platform(workers=0) as ready:
        emails = _users(ready)
        known_ms, unknown_ms = _refusals(ready["grpc"]["auth"], emails)
    known, unknown = statistics.median(known_ms), statistics.median(unknown_ms)
    report.figure("log_in_refused_known_ms", known, "ms")
    report.figure("log_in_refused_unknown_ms", unknown, "ms")
    report.figure("log_in_time_tells_ratio", abs(known - unknown) / known, "ratio", at_most=_MUST_RATIO)


def _users(ready: dict[str, Any]) -> list[str]:
    """As many users as tries: guesses at one account are bounded."""
    with new_account(ready) as account:
        emails = [f"{uuid.uuid4().hex}@example.org" for _ in range(_USERS)]
        for email in emails:
            new_user(ready, account.organization_id, email, account_pb2.ROLE_VIEWER)
        return emails


def _refusals(address: str, emails: list[str]) -> tuple[list[float], list[float]]:
    taken_ms: dict[bool, list[float]] = {True: [], False: []}
    with grpc.insecure_channel(address) as channel:
        accounts = account_service_pb2_grpc.AccountServiceStub(channel)
        for place, email in enumerate(emails):
            # In turns, each first as often: what a refusal leaves to be done meets both alike.
            for is_known in (True, False) if place % 2 else (False, True):
                asked = email if is_known else f"{uuid.uuid4().hex}@example.org"
                taken_ms[is_known].append(_refusal_ms(accounts, asked))
    return taken_ms[True], taken_ms[False]


def _refusal_ms(accounts: account_service_pb2_grpc.AccountServiceStub, email: str) -> float:
    started_s = time.perf_counter()
    try:
        accounts.LogIn(pb.LogInRequest(email=email, password="not the password at all"), timeout=20)
    except grpc.RpcError as refusal:
        taken_ms = (time.perf_counter() - started_s) * 1e3
        if refusal.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return taken_ms
    raise AssertionError("a wrong password was taken")
