-- name: lock_organization
-- Whoever changes members does it under this lock, one after the other: the last owner stays.
SELECT name FROM auth.organizations WHERE organization_id = $1 FOR NO KEY UPDATE

-- name: insert_user
-- No row: the address is taken.
INSERT INTO auth.users (user_id, email, email_key, name, password_hash) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (email_key) DO NOTHING
RETURNING user_id, email, name, is_administrator, created_at, verified_at

-- name: read_user
SELECT user_id, email, name, is_administrator, created_at, verified_at FROM auth.users WHERE user_id = $1

-- name: read_user_by_email
SELECT user_id, email, name, is_administrator, created_at, verified_at FROM auth.users WHERE email_key = $1

-- name: read_credentials
-- is_known: a session of the user came from this address. Indexes: users_email_key_key, sessions_by_user.
SELECT u.user_id, u.email, u.name, u.is_administrator, u.created_at, u.verified_at, u.password_hash,
       u.disabled_at IS NOT NULL AS is_disabled,
       EXISTS (SELECT FROM auth.sessions AS s WHERE s.user_id = u.user_id AND s.address = $2) AS is_known
FROM auth.users AS u WHERE u.email_key = $1

-- name: set_administrator
UPDATE auth.users SET is_administrator = $2 WHERE user_id = $1
RETURNING user_id, email, name, is_administrator, created_at, verified_at

-- name: lock_user_by_email
SELECT user_id, email, name, is_administrator, created_at, verified_at, disabled_at IS NOT NULL AS is_disabled
FROM auth.users WHERE email_key = $1 FOR NO KEY UPDATE

-- name: set_disabled
UPDATE auth.users SET disabled_at = CASE WHEN $2 THEN now() END WHERE user_id = $1

-- name: set_password
UPDATE auth.users SET password_hash = $2 WHERE user_id = $1

-- name: hold_password
-- Only while the hash is the one that was verified: a password that changes meanwhile lets no log-in through that was
-- verified by the one before, and one that changes after this row is held ends the session too. A disabled user likewise.
SELECT true FROM auth.users WHERE user_id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR SHARE

-- name: renew_hash
-- Only while the hash is the one that was verified: a password that changed meanwhile stays.
UPDATE auth.users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2

-- name: insert_organization
INSERT INTO auth.organizations (organization_id, name, plan) VALUES ($1, $2, 'free')

-- name: insert_member
-- No row: the user is a member already.
INSERT INTO auth.members (organization_id, user_id, role) VALUES ($1, $2, $3)
ON CONFLICT (organization_id, user_id) DO NOTHING
RETURNING role

-- name: read_member
SELECT m.organization_id, o.name AS organization_name, m.user_id, u.email, u.name, m.role, m.joined_at, m.last_seen_at
FROM auth.members AS m JOIN auth.users AS u USING (user_id) JOIN auth.organizations AS o USING (organization_id)
WHERE m.organization_id = $1 AND m.user_id = $2

-- name: read_memberships
-- Where the user was last comes first among equals of the caller's choice; index: members_by_user.
SELECT m.organization_id, o.name AS organization_name, m.user_id, u.email, u.name, m.role, m.joined_at, m.last_seen_at
FROM auth.members AS m JOIN auth.users AS u USING (user_id) JOIN auth.organizations AS o USING (organization_id)
WHERE m.user_id = $1 ORDER BY m.joined_at, m.organization_id

-- name: list_members
-- Ids of users sort by sign-up. Primary key.
SELECT m.organization_id, o.name AS organization_name, m.user_id, u.email, u.name, m.role, m.joined_at, m.last_seen_at
FROM auth.members AS m JOIN auth.users AS u USING (user_id) JOIN auth.organizations AS o USING (organization_id)
WHERE m.organization_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3

-- name: is_member_by_email
SELECT EXISTS (
    SELECT FROM auth.members AS m JOIN auth.users AS u USING (user_id)
    WHERE m.organization_id = $1 AND u.email_key = $2
)

-- name: count_owners
SELECT count(*) FROM auth.members WHERE organization_id = $1 AND role = 'owner'

-- name: set_role
UPDATE auth.members SET role = $3 WHERE organization_id = $1 AND user_id = $2

-- name: delete_member
-- The sessions that work in this membership go with it.
DELETE FROM auth.members WHERE organization_id = $1 AND user_id = $2

-- name: digests_of_member
SELECT digest FROM auth.sessions WHERE organization_id = $1 AND user_id = $2

-- name: insert_session
INSERT INTO auth.sessions (session_id, digest, user_id, organization_id, expires_at, address, user_agent)
VALUES ($1, $2, $3, $4, now() + $5::interval, $6, $7)
RETURNING session_id, user_id, organization_id, created_at, last_seen_at, expires_at, address, user_agent

-- name: trim_sessions
-- Only the newest $2 of a user stay.
DELETE FROM auth.sessions WHERE session_id IN (
    SELECT session_id FROM auth.sessions WHERE user_id = $1 ORDER BY session_id DESC OFFSET $2
)

-- name: read_session
SELECT session_id, user_id, organization_id, created_at, last_seen_at, expires_at, address, user_agent
FROM auth.sessions WHERE digest = $1 AND expires_at > now()

-- name: list_sessions
SELECT session_id, user_id, organization_id, created_at, last_seen_at, expires_at, address, user_agent
FROM auth.sessions WHERE user_id = $1 AND expires_at > now() ORDER BY session_id DESC LIMIT 100

-- name: move_session
-- No row: it has ended, or the user is no member there (the foreign key would refuse).
WITH before AS (
    SELECT session_id, organization_id FROM auth.sessions WHERE digest = $1 AND expires_at > now() FOR NO KEY UPDATE
)
UPDATE auth.sessions AS s SET organization_id = m.organization_id
FROM auth.members AS m, before
WHERE s.session_id = before.session_id AND m.user_id = s.user_id AND m.organization_id = $2
RETURNING before.organization_id AS left_organization_id, s.session_id, s.user_id, s.organization_id, s.created_at, s.last_seen_at, s.expires_at, s.address, s.user_agent

-- name: end_session
DELETE FROM auth.sessions WHERE digest = $1 RETURNING user_id, organization_id, session_id

-- name: end_session_by_id
DELETE FROM auth.sessions WHERE user_id = $1 AND session_id = $2 RETURNING digest, organization_id

-- name: end_other_sessions
-- All of a user's but the one of the digest; an empty digest is nobody's.
DELETE FROM auth.sessions WHERE user_id = $1 AND digest <> $2 RETURNING digest

-- name: touch_sessions
-- Coarse: at most one write a minute for each session. Use moves the end, up to the greatest age.
WITH used AS (
    SELECT s.session_id, s.organization_id, s.user_id, u.minute
    FROM auth.sessions AS s JOIN unnest($1::text[], $2::timestamptz[]) AS u (session_id, minute) USING (session_id)
    WHERE s.last_seen_at < u.minute
    ORDER BY s.session_id FOR NO KEY UPDATE OF s
), seen AS (
    UPDATE auth.members AS m SET last_seen_at = latest.minute
    FROM (SELECT organization_id, user_id, max(minute) AS minute FROM used GROUP BY 1, 2) AS latest
    WHERE m.organization_id = latest.organization_id AND m.user_id = latest.user_id
)
UPDATE auth.sessions AS s
SET last_seen_at = used.minute, expires_at = greatest(s.expires_at, least(used.minute + $3::interval, s.created_at + $4::interval))
FROM used WHERE s.session_id = used.session_id

-- name: insert_reset
INSERT INTO auth.password_resets (digest, user_id, expires_at)
SELECT $1, user_id, now() + $3::interval FROM auth.users WHERE user_id = $2 AND disabled_at IS NULL

-- name: read_reset
SELECT u.user_id, u.email, u.name, u.is_administrator, u.created_at, u.verified_at
FROM auth.password_resets AS r JOIN auth.users AS u USING (user_id)
WHERE r.digest = $1 AND r.expires_at > now() AND u.disabled_at IS NULL

-- name: use_reset
-- All of the user's resets are over with the one that is used; no row: it was used meanwhile.
DELETE FROM auth.password_resets WHERE user_id = (
    SELECT user_id FROM auth.password_resets WHERE digest = $1 AND expires_at > now() FOR UPDATE
) RETURNING user_id

-- name: forget_resets_of
DELETE FROM auth.password_resets WHERE user_id = $1

-- name: insert_invitation
INSERT INTO auth.invitations
    (invitation_id, organization_id, email, email_key, role, digest, invited_by, expires_at, invited_by_user_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval, $9)
RETURNING invitation_id, organization_id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at

-- name: revoke_open_invitation
UPDATE auth.invitations SET revoked_at = now()
WHERE organization_id = $1 AND email_key = $2 AND accepted_at IS NULL AND revoked_at IS NULL

-- name: revoke_invitations_by
-- The open ones that a member made. Index: invitations_open_by_member.
UPDATE auth.invitations SET revoked_at = now()
WHERE organization_id = $1 AND invited_by_user_id = $2 AND accepted_at IS NULL AND revoked_at IS NULL
RETURNING invitation_id, email

-- name: read_invitation
-- By the token; index: invitations_digest_key.
SELECT i.invitation_id, i.organization_id, o.name AS organization_name, i.email, i.email_key, i.role, i.invited_by,
       i.created_at, i.expires_at, i.accepted_at, i.revoked_at
FROM auth.invitations AS i JOIN auth.organizations AS o USING (organization_id)
WHERE i.digest = $1 FOR UPDATE OF i

-- name: read_invitation_by_id
SELECT i.invitation_id, i.organization_id, o.name AS organization_name, i.email, i.email_key, i.role, i.invited_by,
       i.created_at, i.expires_at, i.accepted_at, i.revoked_at
FROM auth.invitations AS i JOIN auth.organizations AS o USING (organization_id)
WHERE i.organization_id = $1 AND i.invitation_id = $2 FOR UPDATE OF i

-- name: list_invitations
SELECT i.invitation_id, i.organization_id, o.name AS organization_name, i.email, i.email_key, i.role, i.invited_by,
       i.created_at, i.expires_at, i.accepted_at, i.revoked_at
FROM auth.invitations AS i JOIN auth.organizations AS o USING (organization_id)
WHERE i.organization_id = $1 AND i.invitation_id < $2 ORDER BY i.invitation_id DESC LIMIT $3

-- name: accept_invitation
UPDATE auth.invitations SET accepted_at = now() WHERE invitation_id = $1

-- name: revoke_invitation
UPDATE auth.invitations SET revoked_at = coalesce(revoked_at, now()) WHERE invitation_id = $1 RETURNING revoked_at

-- name: read_acting_key
-- A key that asks for a change; it cannot be revoked before the change is made.
SELECT permissions || later_permissions AS permissions, created_by_user_id FROM auth.keys
WHERE organization_id = $1 AND key_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
FOR SHARE

-- name: revoke_keys_by
-- The keys that a member made, or that those made, which give more than $3; all of them where $3 is null.
-- Row locks on keys in "C" order, as hold_for_keys takes them. Index: keys_by_maker.
WITH ending AS (
    SELECT key_id FROM auth.keys
    WHERE organization_id = $1 AND created_by_user_id = $2 AND revoked_at IS NULL
      AND ($3::text[] IS NULL OR NOT (permissions || later_permissions) <@ $3::text[])
    ORDER BY key_id FOR NO KEY UPDATE
)
UPDATE auth.keys AS k SET revoked_at = now() FROM ending WHERE k.key_id = ending.key_id
RETURNING k.key_id, k.name, k.prefix, k.digest

-- name: list_organizations
-- For those who run the platform.
SELECT o.organization_id, o.name, o.plan, o.requests_per_minute, o.images_per_month, o.queued_runs, o.created_at,
       o.omit_provenance,
       (SELECT count(*) FROM auth.members AS m WHERE m.organization_id = o.organization_id)::int AS members_count,
       (SELECT count(*) FROM auth.keys AS k WHERE k.organization_id = o.organization_id AND k.revoked_at IS NULL)::int
           AS keys_count,
       coalesce((
           SELECT u.settled + u.reserved FROM auth.usage AS u
           WHERE u.organization_id = o.organization_id
             AND u.month = date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date
       ), 0) AS images_used
FROM auth.organizations AS o
WHERE o.organization_id < $1
  AND ($2 = '' OR position(lower($2) in lower(o.name)) > 0 OR position(lower($2) in o.organization_id) > 0)
ORDER BY o.organization_id DESC LIMIT $3

-- name: forget_sessions
DELETE FROM auth.sessions WHERE session_id IN (
    SELECT session_id FROM auth.sessions WHERE expires_at < now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
)

-- name: forget_resets
DELETE FROM auth.password_resets WHERE expires_at < now()

-- name: forget_tries
-- Windows of tries whose last minute is over; a row for each, at most $1.
DELETE FROM auth.windows WHERE organization_id IN (
    SELECT organization_id FROM auth.windows
    WHERE organization_id >= 'try:' AND organization_id < 'try;'
      AND moments_us[cardinality(moments_us)] < (extract(epoch FROM clock_timestamp()) - 60) * 1000000
    LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING true
