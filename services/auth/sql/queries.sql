-- name: check_schema
-- The newest migration's columns are there.
SELECT count(*) FROM auth.users WHERE user_id = '' AND verified_at IS NULL

-- name: resolve_keys
-- Who stands behind each digest; revoked keys, and those of a disabled user, are as good as unknown. Index:
-- keys_digest_key.
SELECT k.digest, k.key_id, k.organization_id, k.permissions || k.later_permissions AS permissions, k.expires_at,
       k.allowed_model_ids, k.images_per_month AS key_images_per_month, o.omit_provenance, o.plan, o.requests_per_minute,
       o.images_per_month, o.queued_runs
FROM auth.keys AS k
JOIN auth.organizations AS o USING (organization_id)
LEFT JOIN auth.users AS maker ON maker.user_id = k.created_by_user_id
WHERE k.digest = ANY ($1::bytea[]) AND k.revoked_at IS NULL AND maker.disabled_at IS NULL

-- name: resolve_sessions
-- Who stands behind each digest; ended sessions are as good as unknown. Index: sessions_digest_key.
SELECT s.digest, s.session_id, s.user_id, s.organization_id, s.expires_at, m.role, u.is_administrator,
       u.verified_at IS NOT NULL AS is_verified, o.omit_provenance,
       o.plan, o.requests_per_minute, o.images_per_month, o.queued_runs
FROM auth.sessions AS s
JOIN auth.members AS m USING (organization_id, user_id)
JOIN auth.users AS u USING (user_id)
JOIN auth.organizations AS o USING (organization_id)
WHERE s.digest = ANY ($1::bytea[]) AND s.expires_at > now()

-- name: admit
-- The one statement of Authorize; its locks and order are told in migrations/0001_tables.sql.
SELECT organization_id, admitted, used_before, now_us, oldest_us, free_us, held_run_ids
FROM auth.admit($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::int[])

-- name: hold_for_keys
-- After admit: the images of keys that have a limit of their own. Locks: keys, then reservations.
SELECT run_id FROM auth.hold_for_keys($1::text[], $2::text[], $3::int[]) AS run_id

-- name: settle
-- Completed runs count, the others give their image back; idempotent in any order. What counts now is added to its day.
-- Locks: usage, then reservations, then daily_usage.
WITH changed AS MATERIALIZED (
    SELECT changed_run_id AS run_id, is_completed
    FROM auth.settle_runs($1::text[], $2::text[], $3::date[], $4::boolean[])
), counted AS (
    INSERT INTO auth.daily_usage AS u
        (organization_id, day, key_id, model_id, images, megapixel_steps, device_ms)
    SELECT a.organization_id COLLATE "C", a.day, a.key_id COLLATE "C", a.model_id COLLATE "C",
           count(*), sum(a.megapixel_steps), sum(a.device_ms)
    FROM unnest($1::text[], $2::text[], $5::date[], $6::text[], $7::text[], $8::float8[], $9::bigint[])
        AS a (run_id, organization_id, day, key_id, model_id, megapixel_steps, device_ms)
    JOIN changed USING (run_id)
    WHERE changed.is_completed AND a.organization_id <> ''
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (organization_id, day, key_id, model_id) DO UPDATE SET
        images = u.images + excluded.images,
        megapixel_steps = u.megapixel_steps + excluded.megapixel_steps,
        device_ms = u.device_ms + excluded.device_ms
)
SELECT count(*) FROM changed

-- name: list_usage
-- Newest day first; the sums of all pages stand in each row. Primary key.
SELECT day, key_id, model_id, images, megapixel_steps, device_ms,
       count(*) OVER () AS rows_count, sum(images) OVER ()::bigint AS total_images,
       sum(megapixel_steps) OVER () AS total_megapixel_steps, sum(device_ms) OVER ()::bigint AS total_device_ms
FROM auth.daily_usage
WHERE organization_id = $1 AND day BETWEEN $2::date AND $3::date
  AND ($4 = '' OR key_id = $4) AND ($5 = '' OR model_id = $5)
ORDER BY day DESC, key_id, model_id LIMIT $6 OFFSET $7

-- name: touch_keys
-- Coarse: at most one write a minute for each key.
-- Row locks on keys in "C" order, as hold_for_keys takes them.
WITH used AS (
    SELECT k.key_id, u.minute FROM auth.keys AS k JOIN unnest($1::text[], $2::timestamptz[]) AS u (key_id, minute) USING (key_id)
    WHERE k.last_used_at IS NULL OR k.last_used_at < u.minute
    ORDER BY k.key_id FOR NO KEY UPDATE OF k
)
UPDATE auth.keys AS k SET last_used_at = used.minute FROM used WHERE k.key_id = used.key_id

-- name: read_usage
-- Organization, window and this month in one look; counts nothing.
SELECT o.organization_id, o.name, o.plan, o.requests_per_minute, o.images_per_month, o.queued_runs, o.created_at,
       o.omit_provenance, coalesce(w.moments_us, '{}') AS moments_us, coalesce(w.counts, '{}') AS counts,
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
RETURNING organization_id, name, plan, requests_per_minute, images_per_month, queued_runs, created_at, omit_provenance

-- name: read_organization
SELECT organization_id, name, plan, requests_per_minute, images_per_month, queued_runs, created_at, omit_provenance
FROM auth.organizations
WHERE organization_id = $1

-- name: lock_organization
SELECT organization_id, name, plan, requests_per_minute, images_per_month, queued_runs, created_at, omit_provenance
FROM auth.organizations
WHERE organization_id = $1 FOR NO KEY UPDATE

-- name: update_organization
-- A null leaves the column as it is.
UPDATE auth.organizations
SET plan = coalesce($2, plan),
    requests_per_minute = coalesce($3, requests_per_minute),
    images_per_month = coalesce($4, images_per_month),
    queued_runs = coalesce($5, queued_runs),
    name = coalesce($6, name),
    omit_provenance = coalesce($7, omit_provenance)
WHERE organization_id = $1
RETURNING organization_id, name, plan, requests_per_minute, images_per_month, queued_runs, created_at, omit_provenance

-- name: insert_key
-- No row: there is no such organization.
INSERT INTO auth.keys (
    key_id, organization_id, name, prefix, digest, permissions, later_permissions, expires_at, allowed_model_ids,
    images_per_month, created_by_user_id
)
SELECT $1, o.organization_id, $3, $4, $5, $6, $7, $8, $9, $10, $11
FROM auth.organizations AS o
WHERE o.organization_id = $2
RETURNING key_id, organization_id, name, prefix, permissions || later_permissions AS permissions, created_at,
          expires_at, revoked_at, last_used_at, allowed_model_ids, images_per_month, created_by_user_id

-- name: list_keys
-- Ids sort by time of creation. Index: keys_by_organization; what a key with a limit of its own used: daily_usage_of_key
-- and reservations_of_key.
SELECT k.key_id, k.organization_id, k.name, k.prefix, k.permissions || k.later_permissions AS permissions,
       k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.allowed_model_ids, k.images_per_month,
       k.created_by_user_id, coalesce(used.images, 0)::bigint AS images_used
FROM auth.keys AS k
LEFT JOIN LATERAL (
    SELECT (
        SELECT coalesce(sum(d.images), 0) FROM auth.daily_usage AS d WHERE d.key_id = k.key_id AND d.day >= month.first
    ) + (
        SELECT count(*) FROM auth.reservations AS r
        WHERE r.key_id = k.key_id AND r.month = month.first AND r.state = 'held'
    ) AS images
    FROM (SELECT date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date AS first) AS month
) AS used ON k.images_per_month > 0
WHERE k.organization_id = $1 AND k.key_id < $2
ORDER BY k.key_id DESC LIMIT $3

-- name: revoke_key
-- The first revocation's time stays; is_news tells whether this is the first.
WITH before AS (
    SELECT key_id, revoked_at FROM auth.keys WHERE organization_id = $1 AND key_id = $2 FOR NO KEY UPDATE
)
UPDATE auth.keys AS k
SET revoked_at = coalesce(k.revoked_at, now())
FROM before WHERE k.key_id = before.key_id
RETURNING k.key_id, k.organization_id, k.name, k.prefix, k.permissions || k.later_permissions AS permissions,
          k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.allowed_model_ids, k.images_per_month,
          k.created_by_user_id, k.digest,
          before.revoked_at IS NULL AS is_news

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
