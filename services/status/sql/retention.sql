-- name: old_runs
-- Primary key from its small end: run_ids are in the order of time.
SELECT run_id, organization_id FROM status.generations
WHERE run_id > $1 AND run_id < $2 AND status >= 4 AND finished_at < $3 ORDER BY run_id LIMIT $4

-- name: delete_runs
WITH g AS (DELETE FROM status.generations WHERE run_id = ANY ($1::text[]) AND status >= 4 RETURNING run_id),
     l AS (DELETE FROM status.leftovers WHERE run_id = ANY ($1::text[]))
DELETE FROM status.submissions AS s USING g WHERE s.run_id = g.run_id

-- name: delete_keys
DELETE FROM status.idempotency WHERE (organization_id, key) IN (
    SELECT organization_id, key FROM status.idempotency WHERE expires_at < now() LIMIT 1000
)

-- name: take_leftovers
WITH due AS (
    SELECT run_id FROM status.leftovers WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE status.leftovers AS l SET due_at = clock_timestamp() + interval '10 minutes'
    FROM due WHERE l.run_id = due.run_id RETURNING l.run_id, l.organization_id
)
SELECT taken.run_id, taken.organization_id, g.status, g.outcome
FROM taken LEFT JOIN status.generations AS g USING (run_id)

-- name: drop_leftovers
DELETE FROM status.leftovers WHERE run_id = ANY ($1::text[])
