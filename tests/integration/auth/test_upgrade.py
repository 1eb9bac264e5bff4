"""While the platform is upgraded, versions share the rows: neither fails on what the other has written."""

from __future__ import annotations

import pytest
from imagineo.v1 import account_pb2
from imagineo.v1 import auth_service_pb2 as pb

from tests.integration.auth.conftest import check_for

pytestmark = pytest.mark.integration

#: The words that version 0002 knows; it fails on any other in the column `permissions`.
KNOWN_BEFORE = {
    *("generations:read", "generations:write", "models:read", "models:write", "keys:read", "keys:write"),
    *("usage:read", "webhooks:read", "webhooks:write", "organization:read", "organization:write"),
}


async def test_the_version_before_finds_only_words_that_it_knows(auth, database):
    organization_id, key_id, secret = await auth.new_key()
    row = await database.fetchrow("SELECT permissions, later_permissions FROM auth.keys WHERE key_id = $1", key_id)
    assert set(row["permissions"]) == KNOWN_BEFORE
    assert set(row["later_permissions"]) == {"members:read", "members:write", "audit:read"}
    [verdict] = await auth.authorize(check_for(secret, permission=account_pb2.PERMISSION_MEMBERS_WRITE))
    assert not verdict.HasField("error")
    [listed] = (await auth(pb.ListKeysRequest(organization_id=organization_id))).keys
    assert len(listed.permissions) == len(account_pb2.Permission.values()) - 1


async def test_words_of_a_later_version_are_passed_over(auth, database):
    organization_id, _, secret = await auth.new_key()
    await database.execute("UPDATE auth.keys SET permissions = permissions || '{teapots:brew}'::text[]")
    [verdict] = await auth.authorize(check_for(secret))
    assert not verdict.HasField("error")
    assert account_pb2.PERMISSION_GENERATIONS_WRITE in verdict.principal.permissions
    assert len((await auth(pb.ListKeysRequest(organization_id=organization_id))).keys) == 1


async def test_a_key_that_the_version_before_makes_is_taken(auth, database):
    organization_id, _, _ = await auth.new_key()
    await database.execute(
        "INSERT INTO auth.keys (key_id, organization_id, name, prefix, digest, permissions) "
        "VALUES ('key_0000000000000000000000old', $1, 'old', 'imag_old', sha256('old'), '{generations:read}')",
        organization_id,
    )
    [verdict] = await auth.authorize(check_for("old", permission=account_pb2.PERMISSION_GENERATIONS_READ))
    assert not verdict.HasField("error")
