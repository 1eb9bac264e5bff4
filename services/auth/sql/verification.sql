-- name: organizations_of
-- Where a user is a member. Index: members_by_user.
SELECT organization_id FROM auth.members WHERE user_id = $1 ORDER BY organization_id

-- name: verify_user
-- The first proof's time stays; is_news tells whether this is the first.
WITH before AS (SELECT user_id, verified_at FROM auth.users WHERE user_id = $1 FOR NO KEY UPDATE)
UPDATE auth.users AS u SET verified_at = coalesce(u.verified_at, now())
FROM before WHERE u.user_id = before.user_id RETURNING before.verified_at IS NULL AS is_news

-- name: insert_verification
-- No row: the address is proven already, or the user is disabled.
INSERT INTO auth.mail_verifications (digest, user_id, expires_at)
SELECT $1, user_id, now() + $3::interval FROM auth.users
WHERE user_id = $2 AND verified_at IS NULL AND disabled_at IS NULL

-- name: use_verification
-- All of the user's links are over with the one that is used; no row: it is unknown, used or over.
DELETE FROM auth.mail_verifications WHERE user_id = (
    SELECT user_id FROM auth.mail_verifications WHERE digest = $1 AND expires_at > now() FOR UPDATE
) RETURNING user_id

-- name: forget_verifications
DELETE FROM auth.mail_verifications WHERE expires_at < now()
