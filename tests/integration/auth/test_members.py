"""Members, roles, invitations and the audit log, over gRPC and a real database."""

from __future__ import annotations

import asyncio

import pytest
from imagineo import errors, tokens
from imagineo.v1 import account_pb2, auth_service_pb2
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import error_reason_pb2 as reasons

from deploy.local import demo_user
from services.auth import app
from services.auth.letters import Letters
from services.auth.people import Role
from tests.integration.auth.people import PASSWORD, fresh_client

pytestmark = pytest.mark.integration

OWNER, ADMIN = account_pb2.ROLE_OWNER, account_pb2.ROLE_ADMIN
DEVELOPER, VIEWER = account_pb2.ROLE_DEVELOPER, account_pb2.ROLE_VIEWER


def invite(by, email="bo@example.org", role=VIEWER) -> pb.CreateInvitationRequest:
    return pb.CreateInvitationRequest(organization_id=by.organization_id, email=email, role=role, actor=by.actor)


def accept(token: str, password: str = PASSWORD, name: str = "Bo") -> pb.AcceptInvitationRequest:
    return pb.AcceptInvitationRequest(
        token_sha256=tokens.digest(token), password=password, name=name, client=fresh_client()
    )


async def members(people, organization_id: str) -> dict[str, int]:
    found = (await people(pb.ListMembersRequest(organization_id=organization_id))).members
    return {member.user_id: member.role for member in found}


async def test_an_invitation_makes_a_member_once(people):
    ada = await people.sign_up()
    made = await people(invite(ada))
    shown = await people(pb.GetInvitationRequest(token_sha256=tokens.digest(made.token)))
    assert (shown.invitation.organization_name, shown.invitation.email) == ("Studio", "bo@example.org")
    assert (shown.invitation.invited_by, shown.is_known) == (ada.email, False)
    answers = await asyncio.gather(*(people(accept(made.token)) for _ in range(3)), return_exceptions=True)
    [joined] = [answer for answer in answers if isinstance(answer, pb.AcceptInvitationResponse)]
    assert await members(people, ada.organization_id) == {ada.user_id: OWNER, joined.user.user_id: VIEWER}
    for request in (accept(made.token), pb.GetInvitationRequest(token_sha256=tokens.digest(made.token))):
        with pytest.raises(errors.FailedPrecondition):
            await people(request)
    [listed] = (await people(pb.ListInvitationsRequest(organization_id=ada.organization_id))).invitations
    assert listed.HasField("accepted_at")
    with pytest.raises(errors.FailedPrecondition):
        await people(
            pb.RevokeInvitationRequest(organization_id=ada.organization_id, invitation_id=listed.invitation_id)
        )
    with pytest.raises(errors.AlreadyExists):
        await people(invite(ada))


async def test_a_user_who_exists_joins_with_the_password_they_have(people):
    ada, bo = await people.sign_up(), await people.sign_up("bo@example.org")
    made = await people(invite(ada, email="BO@example.org", role=DEVELOPER))
    assert (await people(pb.GetInvitationRequest(token_sha256=tokens.digest(made.token)))).is_known
    with pytest.raises(errors.InvalidCredentials):
        await people(accept(made.token, "not the password"))
    joined = await people(accept(made.token))
    assert joined.user.user_id == bo.user_id
    assert joined.session.organization_id == ada.organization_id
    found = await people(pb.GetSessionRequest(session_sha256=tokens.digest(joined.token)))
    assert {each.organization_id: each.role for each in found.memberships} == {
        bo.organization_id: OWNER,
        ada.organization_id: DEVELOPER,
    }
    moved = await people(
        pb.SwitchOrganizationRequest(session_sha256=tokens.digest(joined.token), organization_id=bo.organization_id)
    )
    assert moved.session.organization_id == bo.organization_id
    stranger = await people.sign_up()
    with pytest.raises(errors.NotFound):
        await people(
            pb.SwitchOrganizationRequest(
                session_sha256=tokens.digest(joined.token), organization_id=stranger.organization_id
            )
        )


async def test_an_invitation_that_is_over_makes_nobody_a_member(people, database):
    ada = await people.sign_up()
    first = await people(invite(ada))
    second = await people(invite(ada))  # takes the place of the first
    with pytest.raises(errors.NotFound):
        await people(accept(first.token))
    await database.execute("UPDATE auth.invitations SET expires_at = now()")
    with pytest.raises(errors.FailedPrecondition):
        await people(accept(second.token))
    third = await people(invite(ada))
    names = {"organization_id": ada.organization_id, "invitation_id": third.invitation.invitation_id}
    stranger = await people.sign_up()
    with pytest.raises(errors.NotFound):
        await people(pb.RevokeInvitationRequest(**names | {"organization_id": stranger.organization_id}))
    await people(pb.RevokeInvitationRequest(**names))
    await people(pb.RevokeInvitationRequest(**names))
    for token in (third.token, tokens.new_token()):
        with pytest.raises(errors.NotFound):
            await people(accept(token))
    assert list(await members(people, ada.organization_id)) == [ada.user_id]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\u2028b", "a\tb", "a\u202eb"])
async def test_an_organizations_name_stays_one_line(people, name):
    ada = await people.sign_up()
    with pytest.raises(errors.InvalidParameter, match=r"'name'.*without line ends") as refusal:
        await people.auth(
            auth_service_pb2.UpdateOrganizationRequest(organization_id=ada.organization_id, name=name, actor=ada.actor)
        )
    assert refusal.value.metadata["param"] == "name"


async def test_roles_decide_who_changes_whom(people):
    ada = await people.sign_up()
    team = {role: await people.joined(ada, role) for role in (ADMIN, DEVELOPER, VIEWER)}
    admin, viewer = team[ADMIN], team[VIEWER]

    def change(by, whom, role) -> pb.ChangeRoleRequest:
        return pb.ChangeRoleRequest(
            organization_id=ada.organization_id, user_id=whom.user_id, role=role, actor=by.actor
        )

    refused = [
        change(viewer, team[DEVELOPER], VIEWER),
        change(team[DEVELOPER], viewer, ADMIN),
        change(admin, viewer, OWNER),
        change(admin, ada, VIEWER),
        invite(admin, role=OWNER),
        invite(viewer),
        pb.RemoveMemberRequest(organization_id=ada.organization_id, user_id=ada.user_id, actor=admin.actor),
    ]
    stranger = await people.sign_up()
    refused.append(change(stranger, viewer, ADMIN))
    before = await members(people, ada.organization_id)
    for request in refused:
        with pytest.raises(errors.PermissionDenied):
            await people(request)
    assert await members(people, ada.organization_id) == before
    changed = await people(change(admin, viewer, DEVELOPER))
    assert changed.member.role == DEVELOPER
    check = viewer.check(account_pb2.PERMISSION_GENERATIONS_WRITE, is_uncounted=True)
    assert not (await people.verdict(check)).HasField("error")
    await people(change(ada, admin, OWNER))
    await people(change(admin, ada, VIEWER))  # one owner may unmake another
    denied = await people.verdict(ada.check(account_pb2.PERMISSION_GENERATIONS_WRITE))
    assert denied.error.reason == reasons.ERROR_REASON_PERMISSION_DENIED
    assert denied.error.metadata["permission"] == "generations:write"


async def test_the_last_owner_stays_however_many_try_at_once(people):
    ada = await people.sign_up()
    bo = await people.joined(ada, OWNER)
    leave = [
        pb.RemoveMemberRequest(organization_id=ada.organization_id, user_id=each.user_id, actor=each.actor)
        for each in (ada, bo)
    ]
    answers = await asyncio.gather(*map(people, leave), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["FailedPrecondition", "RemoveMemberResponse"]
    [left] = await members(people, ada.organization_id)
    demote = pb.ChangeRoleRequest(organization_id=ada.organization_id, user_id=left, role=VIEWER)
    with pytest.raises(errors.FailedPrecondition):
        await people(demote)


async def test_a_removed_members_session_and_way_back_end(people):
    ada = await people.sign_up()
    bo = await people.joined(ada, VIEWER)
    assert not (await people.verdict(bo.check())).HasField("error")
    await people(pb.RemoveMemberRequest(organization_id=ada.organization_id, user_id=bo.user_id, actor=ada.actor))
    assert (await people.verdict(bo.check())).error.reason == reasons.ERROR_REASON_INVALID_SESSION
    with pytest.raises(errors.FailedPrecondition):
        await people.log_in(bo.email)


@pytest.mark.parametrize("role", [None, DEVELOPER])
async def test_the_invitations_of_who_leaves_or_may_do_less_end(people, role):
    ada = await people.sign_up()
    bo = await people.joined(ada, ADMIN)
    theirs = await people(invite(bo, "friend@example.org", ADMIN))
    hers = await people(invite(ada, "other@example.org"))
    names = {"organization_id": ada.organization_id, "user_id": bo.user_id, "actor": ada.actor}
    await people(pb.ChangeRoleRequest(**names, role=role) if role else pb.RemoveMemberRequest(**names))
    with pytest.raises(errors.NotFound):
        await people(accept(theirs.token))
    assert (await people.actions(ada.organization_id)).count("invitation.revoked") == 1
    await people(accept(hers.token))


async def test_the_invitations_of_who_may_do_more_stay(people):
    ada = await people.sign_up()
    bo = await people.joined(ada, ADMIN)
    made = await people(invite(bo, "friend@example.org"))
    await people(
        pb.ChangeRoleRequest(organization_id=ada.organization_id, user_id=bo.user_id, role=OWNER, actor=ada.actor)
    )
    await people(accept(made.token))


async def test_the_log_tells_what_happened_and_no_secrets(people):
    ada = await people.sign_up()
    bo = await people.joined(ada, VIEWER)
    actor = ada.actor
    actor.client.CopyFrom(fresh_client())
    organization_id = ada.organization_id
    key = await people.auth(
        auth_service_pb2.CreateKeyRequest(organization_id=organization_id, name="nightly", actor=actor)
    )
    for _ in range(2):  # the second changes nothing
        await people.auth(
            auth_service_pb2.RevokeKeyRequest(organization_id=organization_id, key_id=key.key.key_id, actor=actor)
        )
    await people(pb.ChangeRoleRequest(organization_id=organization_id, user_id=bo.user_id, role=ADMIN, actor=actor))
    await people.auth(
        auth_service_pb2.UpdateOrganizationRequest(organization_id=organization_id, plan=account_pb2.PLAN_BASIC)
    )
    await people(pb.LogOutRequest(session_sha256=bo.digest))
    page = await people(pb.ListAuditEntriesRequest(organization_id=organization_id, page_size=4))
    rest = await people(
        pb.ListAuditEntriesRequest(organization_id=organization_id, page_size=100, page_token=page.next_page_token)
    )
    entries = [*page.entries, *rest.entries]
    assert [entry.action for entry in entries] == [
        "user.logged_out",
        "organization.plan_changed",
        "member.role_changed",
        "key.revoked",
        "key.created",
        "user.logged_in",
        "invitation.accepted",
        "invitation.created",
        "user.logged_in",
        "organization.created",
    ]
    assert (entries[2].email, entries[2].address) == (ada.email, actor.client.address)
    assert dict(entries[2].details) == {"email": bo.email, "from": "viewer", "to": "admin"}
    assert dict(entries[1].details) == {"from": "free", "to": "basic"}
    assert entries[4].subject_id == key.key.key_id
    told = str(entries)
    assert key.secret not in told
    assert ada.token not in told
    only = await people(pb.ListAuditEntriesRequest(organization_id=organization_id, action="key.created"))
    assert len(only.entries) == 1
    stranger = await people.sign_up()
    assert bo.email not in str(await people(pb.ListAuditEntriesRequest(organization_id=stranger.organization_id)))


async def test_those_who_run_the_platform_see_all_organizations_and_set_plans(people):
    ada, operators = await people.sign_up(), await people.sign_up()
    request = pb.CreateUserRequest(
        email="root@example.org",
        password=PASSWORD,
        name="Root",
        organization_id=operators.organization_id,
        role=VIEWER,
        is_administrator=True,
    )
    made = await people(request)
    assert made.user.is_administrator
    root = await people.log_in("root@example.org")
    request.email = ada.email.upper()
    with pytest.raises(errors.AlreadyExists):
        await people(request)
    found = await people(pb.GetUserRequest(user_id=ada.user_id))
    assert not found.user.is_administrator
    assert [each.organization_id for each in found.memberships] == [ada.organization_id]
    plan = auth_service_pb2.UpdateOrganizationRequest(
        organization_id=ada.organization_id, plan=account_pb2.PLAN_PREMIUM, actor=ada.actor
    )
    for refused in (people.auth(plan), people(pb.ListOrganizationsRequest(actor=ada.actor))):
        with pytest.raises(errors.PermissionDenied):
            await refused
    plan.actor.CopyFrom(root.actor)
    await people.auth(plan)
    listed = (await people(pb.ListOrganizationsRequest(actor=root.actor))).organizations
    assert [each.organization_id for each in listed] == [root.organization_id, ada.organization_id]
    assert (listed[1].plan, listed[1].members_count, listed[1].images_per_month) == (
        account_pb2.PLAN_PREMIUM,
        1,
        10_000,
    )
    page = await people(pb.ListOrganizationsRequest(actor=root.actor, page_size=1))
    rest = await people(pb.ListOrganizationsRequest(actor=root.actor, page_token=page.next_page_token))
    assert [each.organization_id for each in rest.organizations] == [ada.organization_id]
    named = await people(pb.ListOrganizationsRequest(text=ada.organization_id, actor=root.actor))
    assert len(named.organizations) == 1


async def test_an_operator_who_takes_over_an_address_shuts_out_who_had_it(people, database):
    squatter = await people.sign_up("boss@example.org")
    operators = await people.sign_up()
    letters = Letters(None, sender="", public_url="")
    with app.reception(database, letters, passwords_at_once=1) as reception:
        user, was_created = await reception.sign_in.create_user(
            "Boss@example.org",
            "another long one",
            "Boss",
            operators.organization_id,
            Role.VIEWER,
            is_administrator=True,
            may_exist=True,
        )
    assert (user.user_id, user.is_administrator, was_created) == (squatter.user_id, True, False)
    with pytest.raises(errors.InvalidSession):
        await people(pb.GetSessionRequest(session_sha256=squatter.digest))
    with pytest.raises(errors.InvalidCredentials):
        await people.log_in(squatter.email)
    await people.log_in(squatter.email, "another long one")
    assert "user.password_changed" in await people.actions(squatter.organization_id)
    assert user.user_id in await members(people, operators.organization_id)


async def test_the_demos_user_is_made_at_the_first_start_and_left_at_the_second(auth, people, tmp_path):
    organization_id = (await people.sign_up()).organization_id
    file = tmp_path / "demo.json"
    first = await demo_user.ensure(f"127.0.0.1:{auth.port}", organization_id, file)
    person = await people.log_in(first.email, first.password)
    assert await demo_user.ensure(f"127.0.0.1:{auth.port}", organization_id, file) == first
    assert not (await people.verdict(person.check())).HasField("error")
