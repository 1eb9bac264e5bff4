-- name: check_schema
SELECT count(*) FROM auth.windows WHERE organization_id = ''

-- name: resolve_keys
-- Who stands behind each digest; revoked keys are as good as unknown. Index: keys_digest_key.
SELECT k.digest, k.key_id, k.organization_id, k.permissions, k.expires_at,
       o.plan, o.requests_per_minute, o.images_per_month, o.queued_runs
FROM auth.keys AS k
JOIN auth.organizations AS o USING (organization_id)
WHERE k.digest = ANY ($1::bytea[]) AND k.revoked_at IS NULL

-- name: admit
-- The one statement of Authorize; its locks and order are told in migrations/0001_tables.sql.
SELECT organization_id, admitted, used_before, now_us, oldest_us, free_us, held_run_ids
FROM auth.admit($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::int[])

-- name: settle
-- Completed runs count, the others give their image back; idempotent in any order. Locks: usage, then reservations.
SELECT auth.settle($1::text[], $2::text[], $3::date[], $4::boolean[])

-- name: touch_keys
-- Coarse: at most one write a minute for each key.
UPDATE auth.keys AS k
SET last_used_at = u.minute
FROM unnest($1::text[], $2::timestamptz[]) AS u (key_id, minute)
WHERE k.key_id = u.key_id AND (k.last_used_at IS NULL OR k.last_used_at < u.minute)

-- name: read_usage
-- Organization, window and this month in one look; counts nothing.
SELECT o.organization_id, o.name, o.plan, o.requests_per_minute, o.images_per_month, o.queued_runs, o.created_at,
       coalesce(w.moments_us, '{}') AS moments_us, coalesce(w.counts, '{}') AS counts,
       coalesce(u.settled, 0) AS settled, coalesce(u.reserved, 0) AS reserved,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
FROM auth.organizations AS o
LEFT JOIN auth.windows AS w USING (organization_id)
LEFT JOIN auth.usage AS u
    ON u.organization_id = o.organization_id
    AND u.month = date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date
WHERE o.organization_id = $1

-- name: insert_organization
-- No row: the id is taken.
INSERT INTO auth.organizations (organization_id, name, plan)
VALUES ($1, $2, $3)
ON CONFLICT (organization_id) DO NOTHING
RETURNING organization_id, name, plan, requests_per_minute, images_per_month, queued_runs, created_at

-- name: read_organization
SELECT organization_id, name, plan, requests_per_minute, images_per_month, queued_runs, created_at
FROM auth.organizations
WHERE organization_id = $1

-- name: update_organization
-- A null leaves the column as it is.
UPDATE auth.organizations
SET plan = coalesce($2, plan),
    requests_per_minute = coalesce($3, requests_per_minute),
    images_per_month = coalesce($4, images_per_month),
    queued_runs = coalesce($5, queued_runs)
WHERE organization_id = $1
RETURNING organization_id, name, plan, requests_per_minute, images_per_month, queued_runs, created_at

-- name: insert_key
-- No row: there is no such organization.
INSERT INTO auth.keys (key_id, organization_id, name, prefix, digest, permissions, expires_at)
SELECT $1, o.organization_id, $3, $4, $5, $6, $7
FROM auth.organizations AS o
WHERE o.organization_id = $2
RETURNING key_id, organization_id, name, prefix, permissions, created_at, expires_at, revoked_at, last_used_at

-- name: list_keys
-- Ids sort by time of creation. Index: keys_by_organization.
SELECT key_id, organization_id, name, prefix, permissions, created_at, expires_at, revoked_at, last_used_at
FROM auth.keys
WHERE organization_id = $1
ORDER BY key_id DESC

-- name: revoke_key
-- The first revocation's time stays.
UPDATE auth.keys
SET revoked_at = coalesce(revoked_at, now())
WHERE organization_id = $1 AND key_id = $2
RETURNING key_id, organization_id, name, prefix, permissions, created_at, expires_at, revoked_at, last_used_at, digest

-- name: held_since
-- A page of reservations that nobody closed for $1 seconds, oldest first, after the place ($2, $3). Index: reservations_held.
SELECT run_id, organization_id, month, changed_at
FROM auth.reservations
WHERE state = 'held' AND changed_at < now() - make_interval(secs => $1) AND (changed_at, run_id) > ($2, $3)
ORDER BY changed_at, run_id
LIMIT $4

-- name: forget_closed
-- Forget what was closed $1 seconds ago, at most $2 rows. Index: reservations_closed.
WITH old AS (
    SELECT run_id FROM auth.reservations
    WHERE state <> 'held' AND changed_at < now() - make_interval(secs => $1)
    ORDER BY changed_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM auth.reservations AS r USING old WHERE r.run_id = old.run_id
RETURNING r.run_id
