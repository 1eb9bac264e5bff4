-- name: lock_runs
-- Row locks on generations, in key order; every transaction that changes runs begins here, then locks counters.
SELECT run_id, organization_id, status, attempt, handed_back, progress, worker_id, incarnation, lease_until,
       deadline, started_at, finished_at, error_code, error_message, version
FROM status.generations WHERE run_id = ANY ($1::text[]) ORDER BY run_id FOR NO KEY UPDATE

-- name: clock
SELECT clock_timestamp()

-- name: save_runs
-- The rows are locked; the old version is checked all the same, so that no transition is ever made twice.
UPDATE status.generations AS g SET
    status = a.status, attempt = a.attempt, handed_back = a.handed_back, progress = a.progress,
    worker_id = a.worker_id, incarnation = a.incarnation, lease_until = a.lease_until,
    started_at = a.started_at, finished_at = a.finished_at, error_code = a.error_code,
    error_message = a.error_message, version = a.version, outcome = coalesce(a.outcome, g.outcome)
FROM unnest(
    $1::text[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::int[], $7::text[], $8::text[],
    $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::bigint[], $15::bytea[]
) AS a (
    run_id, old_version, status, attempt, handed_back, progress, worker_id, incarnation,
    lease_until, started_at, finished_at, error_code, error_message, version, outcome
)
WHERE g.run_id = a.run_id AND g.version = a.old_version AND g.status <= 3

-- name: note_moves
-- The relay's copy: a run that moved waits or runs ($2, looked at in 10 s), or is over and leaves ($2 is null).
-- Row locks on unfinished, in key order, as everybody who waits for them takes them. Answers the runs that were held in
-- a batch: they did not count yet.
WITH moved AS (
    SELECT u.run_id, a.queued FROM unnest($1::text[], $2::boolean[]) AS a (run_id, queued)
    JOIN status.unfinished AS u USING (run_id) ORDER BY u.run_id FOR UPDATE OF u
), left_over AS (
    DELETE FROM status.unfinished AS u USING moved WHERE u.run_id = moved.run_id AND moved.queued IS NULL
), staying AS (
    UPDATE status.unfinished AS u SET queued = moved.queued, due_at = clock_timestamp() + interval '10 seconds'
    FROM moved WHERE u.run_id = moved.run_id AND moved.queued IS NOT NULL
)
DELETE FROM status.held AS h WHERE h.run_id = ANY ($1::text[]) RETURNING h.run_id

-- name: insert_announcements
INSERT INTO status.announcements (run_id, event_id, occurred_at, due_at)
SELECT run_id, event_id, occurred_at, clock_timestamp()
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS a (run_id, event_id, occurred_at)
ON CONFLICT DO NOTHING

-- name: insert_leftovers
-- Cleared ten minutes after the last word of a losing attempt, so that a late upload is seen.
INSERT INTO status.leftovers (run_id, organization_id, due_at)
SELECT run_id, organization_id, clock_timestamp() + interval '10 minutes'
FROM unnest($1::text[], $2::text[]) AS a (run_id, organization_id) ORDER BY run_id
ON CONFLICT (run_id) DO UPDATE SET due_at = excluded.due_at

-- name: lower_counters
-- After lock_counters.
UPDATE status.organizations AS o SET unfinished = o.unfinished - a.amount
FROM unnest($1::text[], $2::bigint[]) AS a (organization_id, amount)
WHERE o.organization_id = a.organization_id

-- name: save_progress
-- Never waits: a locked row gets the next word. HOT.
WITH latest AS (
    SELECT g.run_id, a.progress, a.step
    FROM unnest($1::text[], $2::int[], $3::int[], $4::int[]) AS a (run_id, attempt, progress, step)
    JOIN status.generations AS g USING (run_id)
    WHERE g.attempt = a.attempt AND g.status = 2 AND g.progress < a.progress
    FOR NO KEY UPDATE OF g SKIP LOCKED
)
UPDATE status.generations AS g SET progress = latest.progress, step = latest.step, version = g.version + 1
FROM latest WHERE g.run_id = latest.run_id RETURNING g.run_id
