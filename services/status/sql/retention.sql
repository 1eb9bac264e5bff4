-- name: old_runs
-- Primary key from its small end: run_ids are in the order of time.
SELECT run_id, organization_id FROM status.generations
WHERE run_id > $1 AND run_id < $2 AND status >= 4 AND finished_at < $3 ORDER BY run_id LIMIT $4

-- name: delete_runs
WITH g AS (DELETE FROM status.generations WHERE run_id = ANY ($1::text[]) AND status >= 4 RETURNING run_id),
     l AS (DELETE FROM status.leftovers WHERE run_id = ANY ($1::text[]))
DELETE FROM status.submissions AS s USING g WHERE s.run_id = g.run_id

-- name: delete_batches
-- Batches from before the retention that have no run left, with the list of their items. Ids are in the order of time.
WITH empty AS (
    SELECT b.batch_id FROM status.batches AS b WHERE b.batch_id < $1 AND NOT EXISTS (
        SELECT FROM status.batch_items AS i JOIN status.generations AS g USING (run_id) WHERE i.batch_id = b.batch_id
    ) ORDER BY b.batch_id LIMIT 200
), items AS (
    DELETE FROM status.batch_items AS i USING empty WHERE i.batch_id = empty.batch_id
)
DELETE FROM status.batches AS b USING empty WHERE b.batch_id = empty.batch_id

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
