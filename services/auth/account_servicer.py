"""Translates AccountService between gRPC and this service's rules; decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable

from imagineo import errors, page_token
from imagineo.ids import Prefix, is_id
from imagineo.v1 import account_service_pb2 as pb
from imagineo.v1 import account_service_pb2_grpc

from services.auth import account_wire as shown
from services.auth import wire
from services.auth.member_repository import MemberRepository, RoleChange
from services.auth.pages import page_size
from services.auth.people_repository import PeopleRepository
from services.auth.registry import check_organization_id, is_organization_id, present
from services.auth.sign_in import SignIn
from services.auth.verification import Verification


class AccountServicer(account_service_pb2_grpc.AccountServiceServicer):
    """One instance a process. `forget` and `forget_key` drop digests of what ended or changed from the caches."""

    def __init__(
        self,
        sign_in: SignIn,
        verification: Verification,
        people: PeopleRepository,
        members: MemberRepository,
        forget: Callable[[bytes], None],
        forget_key: Callable[[bytes], None],
    ) -> None:
        self._sign_in = sign_in
        self._verification = verification
        self._people = people
        self._members = members
        self._forget = forget
        self._forget_key = forget_key

    async def SignUp(self, request: pb.SignUpRequest, _context: object) -> pb.SignUpResponse:  # noqa: N802
        """Make a user, an organization and a session."""
        opened = await self._sign_in.sign_up(
            request.email, request.password, request.name, request.organization_name, wire.client(request.client)
        )
        session, user = shown.session_message(opened.session), shown.user_message(opened.user)
        return pb.SignUpResponse(token=opened.token, session=session, user=user)

    async def LogIn(self, request: pb.LogInRequest, _context: object) -> pb.LogInResponse:  # noqa: N802
        """Make a session."""
        opened = await self._sign_in.log_in(request.email, request.password, wire.client(request.client))
        session, user = shown.session_message(opened.session), shown.user_message(opened.user)
        return pb.LogInResponse(token=opened.token, session=session, user=user)

    async def LogOut(self, request: pb.LogOutRequest, _context: object) -> pb.LogOutResponse:  # noqa: N802
        """End the session of a token."""
        await self._people.log_out(request.session_sha256, wire.client(request.client))
        self._forget(request.session_sha256)
        return pb.LogOutResponse()

    async def GetSession(self, request: pb.GetSessionRequest, _context: object) -> pb.GetSessionResponse:  # noqa: N802
        """Tell who is logged in."""
        session = await self._people.session(request.session_sha256)
        user = await self._people.user(session.user_id) if session else None
        if session is None or user is None:
            raise errors.InvalidSession
        memberships = await self._people.memberships(user.user_id)
        return pb.GetSessionResponse(
            session=shown.session_message(session),
            user=shown.user_message(user),
            memberships=map(shown.member_message, memberships),
            is_verification_open=self._verification.is_open(user),
        )

    async def SwitchOrganization(  # noqa: N802
        self, request: pb.SwitchOrganizationRequest, _context: object
    ) -> pb.SwitchOrganizationResponse:
        """Make a session work elsewhere."""
        if await self._people.session(request.session_sha256) is None:
            raise errors.InvalidSession
        check_organization_id(request.organization_id)
        moved = await self._people.move_session(
            request.session_sha256, request.organization_id, wire.client(request.client)
        )
        session = present(moved, "organization_id", request.organization_id)
        self._forget(request.session_sha256)
        return pb.SwitchOrganizationResponse(session=shown.session_message(session))

    async def ListSessions(self, request: pb.ListSessionsRequest, _context: object) -> pb.ListSessionsResponse:  # noqa: N802
        """List a user's sessions."""
        _check_id("user_id", request.user_id, "user")
        return pb.ListSessionsResponse(
            sessions=map(shown.session_message, await self._people.sessions(request.user_id))
        )

    async def RevokeSession(self, request: pb.RevokeSessionRequest, _context: object) -> pb.RevokeSessionResponse:  # noqa: N802
        """End one session of a user."""
        _check_id("user_id", request.user_id, "user")
        _check_id("session_id", request.session_id, "sess")
        ended = await self._people.end_session(request.user_id, request.session_id, wire.client(request.client))
        self._forget(present(ended, "session_id", request.session_id))
        return pb.RevokeSessionResponse()

    async def ChangePassword(  # noqa: N802
        self, request: pb.ChangePasswordRequest, _context: object
    ) -> pb.ChangePasswordResponse:
        """Replace a password."""
        await self._sign_in.change_password(
            request.session_sha256, request.old_password, request.new_password, wire.client(request.client)
        )
        return pb.ChangePasswordResponse()

    async def RequestPasswordReset(  # noqa: N802
        self, request: pb.RequestPasswordResetRequest, _context: object
    ) -> pb.RequestPasswordResetResponse:
        """Mail a link, if somebody has the address."""
        await self._sign_in.request_reset(request.email, wire.client(request.client))
        return pb.RequestPasswordResetResponse()

    async def ResetPassword(self, request: pb.ResetPasswordRequest, _context: object) -> pb.ResetPasswordResponse:  # noqa: N802
        """Set a password by a link."""
        await self._sign_in.reset_password(request.token_sha256, request.new_password, wire.client(request.client))
        return pb.ResetPasswordResponse()

    async def RequestVerification(  # noqa: N802
        self, request: pb.RequestVerificationRequest, _context: object
    ) -> pb.RequestVerificationResponse:
        """Mail the link that proves a mail address."""
        await self._verification.request(request.session_sha256, wire.client(request.client))
        return pb.RequestVerificationResponse()

    async def VerifyEmail(self, request: pb.VerifyEmailRequest, _context: object) -> pb.VerifyEmailResponse:  # noqa: N802
        """Take a link as the proof of a mail address."""
        await self._verification.take(request.token_sha256, wire.client(request.client))
        return pb.VerifyEmailResponse()

    async def GetUser(self, request: pb.GetUserRequest, _context: object) -> pb.GetUserResponse:  # noqa: N802
        """Read a user."""
        _check_id("user_id", request.user_id, "user")
        user = present(await self._people.user(request.user_id), "user_id", request.user_id)
        memberships = await self._people.memberships(request.user_id)
        return pb.GetUserResponse(user=shown.user_message(user), memberships=map(shown.member_message, memberships))

    async def CreateUser(self, request: pb.CreateUserRequest, _context: object) -> pb.CreateUserResponse:  # noqa: N802
        """Make a user as an operator does."""
        check_organization_id(request.organization_id)
        user, _ = await self._sign_in.create_user(
            request.email,
            request.password,
            request.name,
            request.organization_id,
            wire.role(request.role),
            is_administrator=request.is_administrator,
        )
        return pb.CreateUserResponse(user=shown.user_message(user))

    async def ListMembers(self, request: pb.ListMembersRequest, _context: object) -> pb.ListMembersResponse:  # noqa: N802
        """List an organization's members."""
        organization_id, size = request.organization_id, page_size(request.page_size)
        check_organization_id(organization_id)
        after = page_token.decode(organization_id, request.page_token, "user") if request.page_token else ""
        found = await self._members.members(organization_id, after, size + 1)
        more = page_token.encode(organization_id, found[size - 1].user_id) if len(found) > size else ""
        return pb.ListMembersResponse(members=map(shown.member_message, found[:size]), next_page_token=more)

    async def ChangeRole(self, request: pb.ChangeRoleRequest, _context: object) -> pb.ChangeRoleResponse:  # noqa: N802
        """Change what a member may do."""
        check_organization_id(request.organization_id)
        _check_id("user_id", request.user_id, "user")
        role = wire.role(request.role)
        changed = await self._members.change_role(
            request.organization_id, request.user_id, role, wire.actor(request.actor)
        )
        self._forget_all(changed)
        return pb.ChangeRoleResponse(member=shown.member_message(changed.member))

    async def RemoveMember(self, request: pb.RemoveMemberRequest, _context: object) -> pb.RemoveMemberResponse:  # noqa: N802
        """End a membership."""
        check_organization_id(request.organization_id)
        _check_id("user_id", request.user_id, "user")
        changed = await self._members.change_role(
            request.organization_id, request.user_id, None, wire.actor(request.actor)
        )
        self._forget_all(changed)
        return pb.RemoveMemberResponse()

    async def CreateInvitation(  # noqa: N802
        self, request: pb.CreateInvitationRequest, _context: object
    ) -> pb.CreateInvitationResponse:
        """Invite somebody."""
        check_organization_id(request.organization_id)
        made, token = await self._sign_in.invite(
            request.organization_id, request.email, wire.role(request.role), wire.actor(request.actor)
        )
        return pb.CreateInvitationResponse(invitation=shown.invitation_message(made), token=token)

    async def ListInvitations(  # noqa: N802
        self, request: pb.ListInvitationsRequest, _context: object
    ) -> pb.ListInvitationsResponse:
        """List an organization's invitations."""
        organization_id, size = request.organization_id, page_size(request.page_size)
        check_organization_id(organization_id)
        before = page_token.decode(organization_id, request.page_token, "inv") if request.page_token else "inv_~"
        found = await self._members.invitations(organization_id, before, size + 1)
        more = page_token.encode(organization_id, found[size - 1].invitation_id) if len(found) > size else ""
        return pb.ListInvitationsResponse(invitations=map(shown.invitation_message, found[:size]), next_page_token=more)

    async def RevokeInvitation(  # noqa: N802
        self, request: pb.RevokeInvitationRequest, _context: object
    ) -> pb.RevokeInvitationResponse:
        """End an invitation."""
        check_organization_id(request.organization_id)
        _check_id("invitation_id", request.invitation_id, "inv")
        found = await self._members.revoke_invitation(
            request.organization_id, request.invitation_id, wire.actor(request.actor)
        )
        return pb.RevokeInvitationResponse(invitation=shown.invitation_message(found))

    async def GetInvitation(self, request: pb.GetInvitationRequest, _context: object) -> pb.GetInvitationResponse:  # noqa: N802
        """Show the invitation of a link."""
        found, is_known = await self._sign_in.invitation(request.token_sha256)
        return pb.GetInvitationResponse(invitation=shown.invitation_message(found), is_known=is_known)

    async def AcceptInvitation(  # noqa: N802
        self, request: pb.AcceptInvitationRequest, _context: object
    ) -> pb.AcceptInvitationResponse:
        """Make the invited a member."""
        opened = await self._sign_in.accept(
            request.token_sha256, request.password, request.name, wire.client(request.client)
        )
        session, user = shown.session_message(opened.session), shown.user_message(opened.user)
        return pb.AcceptInvitationResponse(token=opened.token, session=session, user=user)

    async def ListAuditEntries(  # noqa: N802
        self, request: pb.ListAuditEntriesRequest, _context: object
    ) -> pb.ListAuditEntriesResponse:
        """List the audit log."""
        organization_id, size = request.organization_id, page_size(request.page_size)
        check_organization_id(organization_id)
        before = page_token.decode(organization_id, request.page_token, "aud") if request.page_token else "aud_~"
        found = await self._members.entries(organization_id, before, request.action.replace("\0", ""), size + 1)
        more = page_token.encode(organization_id, found[size - 1].entry_id) if len(found) > size else ""
        return pb.ListAuditEntriesResponse(entries=map(shown.entry_message, found[:size]), next_page_token=more)

    async def ListOrganizations(  # noqa: N802
        self, request: pb.ListOrganizationsRequest, _context: object
    ) -> pb.ListOrganizationsResponse:
        """List all organizations."""
        await self._check_administrator(request.actor.user_id, request.actor.key_id)
        before, size = request.page_token or "org_~", page_size(request.page_size)
        if request.page_token and not is_organization_id(before):
            raise errors.InvalidParameter.of("page_token", "the next_page_token of the page before")
        found = await self._members.organizations(before, request.text.replace("\0", ""), size + 1)
        more = found[size - 1].organization.organization_id if len(found) > size else ""
        return pb.ListOrganizationsResponse(
            organizations=map(shown.summary_message, found[:size]), next_page_token=more
        )

    async def _check_administrator(self, user_id: str, key_id: str) -> None:
        user = await self._people.user(user_id) if user_id else None
        if key_id or (user_id and (user is None or not user.is_administrator)):
            raise errors.PermissionDenied("Only those who run the platform may do this.")

    def _forget_all(self, changed: RoleChange) -> None:
        for digest in changed.session_digests:
            self._forget(digest)
        for digest in changed.key_digests:
            self._forget_key(digest)


def _check_id(field: str, text: str, prefix: Prefix) -> None:
    if not is_id(text, prefix):
        raise errors.NotFound(f"There is no {field.removesuffix('_id')} '{text}'.", metadata={field: text})
