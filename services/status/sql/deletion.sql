-- name: mark_deleted
-- Row locks on generations, in key order. A newer version, so that watchers look.
WITH own AS (
    SELECT run_id FROM status.generations
    WHERE run_id = ANY ($1::text[]) AND organization_id = $2 AND deleted_at IS NULL
    ORDER BY run_id FOR NO KEY UPDATE
)
UPDATE status.generations AS g SET deleted_at = clock_timestamp(), version = g.version + 1
FROM own WHERE g.run_id = own.run_id RETURNING g.run_id

-- name: deleted_runs
-- Index generations_deleted. What is not over is to be canceled; what is not announced waits for the announcer.
SELECT g.run_id, g.organization_id, g.status,
       EXISTS (SELECT FROM status.announcements AS a WHERE a.run_id = g.run_id) AS is_unannounced
FROM status.generations AS g WHERE g.deleted_at IS NOT NULL ORDER BY g.deleted_at LIMIT $1

-- name: erase_runs
-- A run stays as a nameless row for a minute after its acceptance, longer than a late repetition of the acceptance may
-- come. Its folder in the object store is looked at again ten minutes later, for an upload that was under way.
WITH g AS (
    DELETE FROM status.generations
    WHERE run_id = ANY ($1::text[]) AND status >= 4 AND deleted_at IS NOT NULL
      AND created_at < clock_timestamp() - interval '1 minute'
    RETURNING run_id, organization_id
), l AS (
    INSERT INTO status.leftovers (run_id, organization_id, due_at)
    SELECT run_id, organization_id, clock_timestamp() + interval '10 minutes' FROM g ORDER BY run_id
    ON CONFLICT (run_id) DO UPDATE SET due_at = excluded.due_at
)
DELETE FROM status.submissions AS s USING g WHERE s.run_id = g.run_id
