"""Two organizations to hold apart: members and keys of every role, one thing of every kind, calls of every route.

A call is an operation's own example with the ids of one organization put in: a new route is called without more.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import grpc
import httpx
from imagineo import tokens
from imagineo.permissions import PERMISSIONS_OF, ROLES, SCOPE_WORDS
from imagineo.v1 import account_service_pb2, account_service_pb2_grpc, generation_pb2

from services.gateway.dispatch import Row
from tests.support.pictures import encoded, scene
from tests.support.platform import REPOSITORY, eventually, new_account
from tests.support.rest import SMALL, Account

PASSWORD = "a fine long password"
LORA = next((REPOSITORY / "libs" / "starter" / "weights" / "loras").glob("*.safetensors"))
#: Columns that move by themselves: when something was last used, and what deliveries to nobody come to.
_RESTLESS = {
    "auth.keys": {"last_used_at"},
    "auth.members": {"last_seen_at"},
    "auth.sessions": {"last_seen_at", "expires_at"},
    "webhooks.endpoints": {"active", "disabled_reason", "disabled_at", "failing_since", "updated_at"},
    "webhooks.deliveries": {
        *("state", "attempts", "tries", "round_at", "next_attempt_at", "leased_until", "claims", "attempted_at"),
        *("status_code", "duration_ms", "last_error", "last_response"),
    },
}
_PRIVATE = re.compile(r"\$(UNWANTED_|OWN_)?(\w+)")


#: Runs that are not over, or whose end auth has not counted or webhooks not written down yet.
_RUNNING = f"""
SELECT count(*) AS count FROM status.generations AS g
WHERE g.organization_id = $1 AND g.deleted_at IS NULL AND (
    g.finished_at IS NULL OR (g.status = {generation_pb2.STATUS_COMPLETED} AND (
        NOT EXISTS (SELECT FROM auth.reservations AS r WHERE r.run_id = g.run_id AND r.state = 'settled')
        OR NOT EXISTS (SELECT FROM webhooks.deliveries AS d WHERE d.subject_id = g.run_id)
    ))
)
"""  # noqa: S608 - the number is the protocol's
_HELD = "SELECT count(*) AS count FROM auth.reservations WHERE organization_id = $1 AND state = 'held'"


@dataclass
class Tenant:
    """One organization."""

    name: str
    account: Account
    base_model: str
    sessions: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)
    """What stands for `$RUN_ID` and the like."""

    @property
    def organization_id(self) -> str:
        return self.account.organization_id

    @property
    def marks(self) -> set[str]:
        """What nobody else may ever see."""
        return {self.organization_id, self.name, *self.things.values()}

    def headers(self, role: str, by: str, *, csrf: bool = True) -> dict[str, str]:
        """How a member or a key of a role asks."""
        if by == "key":
            return {"X-API-Key": self.keys[role]}
        token = self.sessions[role]
        proof = {"X-CSRF-Token": tokens.csrf_token(token)} if csrf else {}
        return {"Cookie": f"imagineo_session={token}", **proof}


@dataclass(frozen=True)
class Call:
    """One request as it goes out."""

    method: str
    path: str
    options: dict[str, Any]
    names: frozenset[str]
    """The private things that it names."""


def settle(ready: dict[str, Any], name: str) -> Tenant:
    """Make an organization with all that one can have."""
    account = new_account(ready)
    tenant = Tenant(name, account, account.base_model())
    account.http.patch("/v1/organization", json={"name": name})
    for role, number in ROLES.items():
        scopes = [SCOPE_WORDS[permission] for permission in sorted(PERMISSIONS_OF[number])]
        made = account.post("/v1/keys", {"name": f"{role} of {name}", "scopes": scopes}).json()
        tenant.keys[role] = made["secret"]
        email = f"{role}-{name}@example.org"
        new_user(ready, tenant.organization_id, email, number)
        tenant.sessions[role] = log_in(ready, email)
    tenant.things["WEBHOOK_ID"] = fresh(ready, tenant, "WEBHOOK_ID")
    for kind in ("MODEL_ID", "UPLOAD_ID", "KEY_ID", "USER_ID", "INVITATION_ID", "SESSION_ID"):
        tenant.things[kind] = fresh(ready, tenant, kind)
    tenant.things["RUN_ID"] = account.draw(model_id=tenant.things["MODEL_ID"], positive_prompt=name)["run_id"]
    tenant.things["BATCH_ID"] = fresh(ready, tenant, "BATCH_ID")
    log = f"/v1/webhooks/{tenant.things['WEBHOOK_ID']}/deliveries"
    found = eventually(lambda: account.get(log).json()["deliveries"], within_s=60, what="a delivery is in the log")
    tenant.things["DELIVERY_ID"] = found[-1]["id"]
    return tenant


def fresh(ready: dict[str, Any], tenant: Tenant, kind: str) -> str:
    """One more thing of a kind, such as `RUN_ID`."""
    account, label = tenant.account, f"{tenant.name} {uuid.uuid4().hex[:8]}"
    match kind:
        case "MODEL_ID":
            data = {"name": label, "base_model_id": account.base_model()}
            answer = account.http.post("/v1/models", data=data, files={"file": LORA.read_bytes()})
        case "UPLOAD_ID":
            answer = account.http.post("/v1/uploads", files={"file": encoded(scene())})
        case "KEY_ID":
            answer = account.post("/v1/keys", {"name": label})
        case "INVITATION_ID":
            body = {"email": f"{uuid.uuid4().hex}@example.org", "role": "viewer"}
            answer = account.post("/v1/organization/invitations", body)
        case "WEBHOOK_ID":
            answer = account.post("/v1/webhooks", {"url": "http://127.0.0.1:9/", "description": label})
        case "RUN_ID":
            return account.submit(model_id=tenant.things["MODEL_ID"], positive_prompt=label)
        case "BATCH_ID":
            answer = account.post("/v1/batches", {"items": [account.body(positive_prompt=label)]})
        case "SESSION_ID":
            return session_of(ready, log_in(ready, f"owner-{tenant.name}@example.org"))
        case "USER_ID":
            return new_user(ready, tenant.organization_id, f"guest-{uuid.uuid4().hex}@example.org", ROLES["viewer"])
        case _:
            raise AssertionError(f"say here how to make a {kind}")
    assert answer.status_code == 200, answer.text
    made = answer.json()
    return str(made.get("id") or made.get("upload_id") or made.get("batch_id"))


def new_user(ready: dict[str, Any], organization_id: str, email: str, role: Any) -> str:
    """A user who is a member, made as an operator does."""
    request = account_service_pb2.CreateUserRequest(
        email=email,
        password=PASSWORD,
        name="Somebody",
        organization_id=organization_id,
        role=role,
    )
    with grpc.insecure_channel(ready["grpc"]["auth"]) as channel:
        made = account_service_pb2_grpc.AccountServiceStub(channel).CreateUser(request, timeout=60)
    return str(made.user.user_id)


def log_in(ready: dict[str, Any], email: str) -> str:
    """The token of a new session."""
    with grpc.insecure_channel(ready["grpc"]["auth"]) as channel:
        accounts = account_service_pb2_grpc.AccountServiceStub(channel)
        request = account_service_pb2.LogInRequest(email=email, password=PASSWORD)
        return str(accounts.LogIn(request, timeout=60).token)


def session_of(ready: dict[str, Any], token: str) -> str:
    """The id of a session."""
    with grpc.insecure_channel(ready["grpc"]["auth"]) as channel:
        accounts = account_service_pb2_grpc.AccountServiceStub(channel)
        request = account_service_pb2.GetSessionRequest(session_sha256=tokens.digest(token))
        return str(accounts.GetSession(request, timeout=60).session.session_id)


def call_of(row: Row, tenant: Tenant) -> Call:
    """An operation's example, small and cheap, with the ids of a tenant."""
    named: set[str] = set()

    def put_in(text: str) -> str:
        def thing(found: re.Match[str]) -> str:
            kind = found[2]
            if kind == "BASE_MODEL_ID":
                return tenant.base_model
            if kind in ("PICTURE", "LORA_FILE"):
                return found[0]
            named.add(kind)
            return tenant.things[kind]

        return _PRIVATE.sub(thing, text)

    path = row.path
    for name in re.findall(r"{(\w+)}", path):
        path = path.replace(f"{{{name}}}", put_in(f"${name.upper()}"))
    content = row.operation.get("requestBody", {}).get("content", {})
    options: dict[str, Any] = {}
    if (example := content.get("multipart/form-data", {}).get("example")) is not None:
        options = _form(json.loads(put_in(json.dumps(example))))
    elif (example := content.get("application/json", {}).get("example")) is not None:
        options = {"json": json.loads(put_in(json.dumps(_small(row, example))))}
    return Call(row.method, path, options, frozenset(named))


def _form(example: dict[str, Any]) -> dict[str, Any]:
    files = {"$PICTURE": encoded(scene()), "$LORA_FILE": LORA.read_bytes()}
    sent = {name: files[text[1:]] for name, text in example.items() if str(text).startswith("@")}
    return {"files": sent, "data": {name: text for name, text in example.items() if name not in sent}}


def _small(row: Row, example: dict[str, Any]) -> dict[str, Any]:
    """The same with small pictures, an address of its own, nobody on the internet, and nothing made public."""
    small = {name: value for name, value in example.items() if name != "sharing"}
    for name, value in {
        "url": "http://127.0.0.1:9/",
        "size": "64x64",
        "email": f"{uuid.uuid4().hex}@example.org",
    }.items():
        small |= {name: value} if name in small else {}
    if row.path == "/v1/generate":
        small |= SMALL
    if "defaults" in small:
        small["defaults"] = {**small["defaults"], **SMALL}
    return small


class Rows:
    """What the database holds of an organization, looked at whole. Close it when done."""

    def __init__(self, dsn: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(dsn))
        found = self._ask(
            "SELECT table_schema || '.' || table_name AS name, array_agg(column_name::text) AS columns "
            "FROM information_schema.columns WHERE table_schema IN ('auth', 'catalog', 'status', 'webhooks') "
            "GROUP BY 1 HAVING bool_or(column_name = 'organization_id') ORDER BY 1"
        )
        self._tables = {row["name"]: sorted(set(row["columns"]) - _RESTLESS.get(row["name"], set())) for row in found}
        assert len(self._tables) > 15

    def of(self, organization_id: str) -> dict[str, str]:
        """A digest of the rows of each table."""
        parts = [
            f"SELECT '{name}' AS name, coalesce(md5(string_agg(md5(t::text), '' ORDER BY t::text)), '') AS digest "  # noqa: S608
            f"FROM (SELECT {', '.join(columns)} FROM {name} WHERE organization_id = $1) AS t"
            for name, columns in self._tables.items()
        ]
        return {row["name"]: row["digest"] for row in self._ask(" UNION ALL ".join(parts), organization_id)}

    def unfinished(self, organization_id: str) -> bool:
        """Whether runs of the organization may still change its rows."""
        return any(self._ask(sql, organization_id)[0]["count"] for sql in (_RUNNING, _HELD))

    def _ask(self, sql: str, *arguments: str) -> list[Any]:
        return list(self._runner.run(self._connection.fetch(sql, *arguments)))

    def close(self) -> None:
        """Let go of the connection."""
        self._runner.run(self._connection.close())
        self._runner.close()


def send(http: httpx.Client, call: Call, headers: dict[str, str]) -> httpx.Response:
    """Make the call; again where a part of the platform is too busy, which changes nothing."""
    for _ in range(10):
        answer = http.request(call.method, call.path, headers=headers, **call.options)
        if answer.status_code != 503:
            break
        time.sleep(int(answer.headers["Retry-After"]))
    return answer
