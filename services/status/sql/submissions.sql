-- name: open_counters
-- Makes counter rows of organizations that are new. In key order, as every lock of this table.
INSERT INTO status.organizations (organization_id)
SELECT id FROM unnest($1::text[]) AS id ORDER BY id
ON CONFLICT DO NOTHING

-- name: lock_counters
-- Row locks on organizations, in key order; held to the end of the transaction.
SELECT organization_id, unfinished FROM status.organizations
WHERE organization_id = ANY ($1::text[]) ORDER BY organization_id FOR UPDATE

-- name: earlier_keys
-- By primary key; the organization's counter lock orders this after every earlier acceptance.
SELECT i.organization_id, i.key, i.run_id, i.body_sha256, i.seed, i.estimated_time_s
FROM unnest($1::text[], $2::text[]) AS a (organization_id, key)
JOIN status.idempotency AS i USING (organization_id, key)
WHERE i.expires_at > now()

-- name: known_runs
SELECT g.run_id, g.organization_id, s.seed, g.accepted_estimate_s
FROM status.generations AS g JOIN status.submissions AS s USING (run_id)
WHERE g.run_id = ANY ($1::text[])

-- name: insert_runs
-- All three rows of each new run, and its organization's counter, in one statement. After lock_counters.
WITH new AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::float8[], $7::timestamptz[], $8::int[],
        $9::text[], $10::bigint[], $11::bytea[], $12::text[], $13::text[]
    ) AS a (
        run_id, organization_id, model_id, base_model_slug, lane, work, deadline, estimate_s,
        key_id, seed, job, metadata, webhook_url
    )
), changing AS (
    INSERT INTO status.generations (
        run_id, organization_id, model_id, status, deadline, created_at, accepted_estimate_s
    )
    SELECT run_id, organization_id, model_id, 1, deadline, now(), estimate_s FROM new
), lasting AS (
    INSERT INTO status.submissions (run_id, key_id, seed, job, metadata, webhook_url)
    SELECT run_id, key_id, seed, job, metadata, webhook_url FROM new
), counted AS (
    UPDATE status.organizations AS o SET unfinished = o.unfinished + a.amount
    FROM (SELECT organization_id, count(*) AS amount FROM new GROUP BY organization_id) AS a
    WHERE o.organization_id = a.organization_id
)
INSERT INTO status.unfinished (run_id, base_model_slug, lane, work, created_at, deadline, due_at)
SELECT run_id, base_model_slug, lane, work, now(), deadline, clock_timestamp() + interval '3 seconds' FROM new

-- name: insert_keys
-- An expired key that was not swept yet is taken over.
INSERT INTO status.idempotency (organization_id, key, run_id, body_sha256, seed, estimated_time_s, expires_at)
SELECT organization_id, key, run_id, body_sha256, seed, estimated_time_s, now() + interval '24 hours'
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::int[])
    AS a (organization_id, key, run_id, body_sha256, seed, estimated_time_s)
ORDER BY organization_id, key
ON CONFLICT (organization_id, key) DO UPDATE SET
    run_id = excluded.run_id, body_sha256 = excluded.body_sha256, seed = excluded.seed,
    estimated_time_s = excluded.estimated_time_s, expires_at = excluded.expires_at
