-- name: mark_published
-- The relay looks again in 30 s, whether the stream still has it. Row locks on unfinished, in key order.
WITH a AS (
    SELECT run_id, max(stream_sequence) AS stream_sequence
    FROM unnest($1::text[], $2::bigint[]) AS b (run_id, stream_sequence) GROUP BY run_id
), held AS (
    SELECT u.run_id, a.stream_sequence FROM status.unfinished AS u JOIN a USING (run_id)
    WHERE u.stream_sequence IS DISTINCT FROM a.stream_sequence ORDER BY u.run_id FOR NO KEY UPDATE OF u
)
UPDATE status.unfinished AS u SET
    stream_sequence = held.stream_sequence, publications = u.publications + 1,
    due_at = clock_timestamp() + CASE WHEN u.queued THEN interval '30 seconds' ELSE interval '10 seconds' END
FROM held WHERE u.run_id = held.run_id

-- name: take_due
-- Index unfinished_due. Taking a row puts off its next look, so that replicas of the relay share the work. The longer a
-- job waits, the rarer it is looked for: a long queue must not keep the broker busy.
WITH due AS (
    SELECT run_id FROM status.unfinished
    WHERE due_at <= clock_timestamp() AND (queued OR $2::boolean)
    ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE status.unfinished AS u SET due_at = clock_timestamp() + CASE
        WHEN u.stream_sequence IS NULL THEN interval '3 seconds'
        WHEN u.queued THEN least(interval '5 minutes', greatest(interval '30 seconds', (clock_timestamp() - u.created_at) / 4))
        ELSE interval '10 seconds' END
    FROM due WHERE u.run_id = due.run_id
    RETURNING u.run_id, u.stream_sequence, u.publications, u.queued
)
SELECT taken.*, g.attempt, s.job, NOT taken.queued AND g.lease_until < clock_timestamp() - interval '20 seconds' AS is_abandoned
FROM taken JOIN status.generations AS g USING (run_id) JOIN status.submissions AS s USING (run_id)

-- name: hasten
-- The broker came back: look at all queued runs now, for it may have lost them. By primary key, some at a time; one
-- that is locked changes just now.
WITH waiting AS (
    SELECT run_id FROM status.unfinished
    WHERE run_id > $1 AND queued AND stream_sequence IS NOT NULL
    ORDER BY run_id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE status.unfinished AS u SET due_at = clock_timestamp()
FROM waiting WHERE u.run_id = waiting.run_id RETURNING u.run_id

-- name: look_soon
UPDATE status.unfinished AS u SET due_at = clock_timestamp() + interval '2 seconds'
FROM (SELECT run_id FROM status.unfinished WHERE run_id = ANY ($1::text[]) FOR NO KEY UPDATE SKIP LOCKED) AS a
WHERE u.run_id = a.run_id

-- name: overdue_runs
-- Runs that time may have decided about: deadlines (indexes unfinished_deadline, held_deadline), silent workers (index
-- unfinished_running). `imagineo.jobs.states` decides; its shortest patience stands here.
(
    SELECT run_id FROM status.unfinished
    WHERE queued AND deadline IS NOT NULL AND deadline <= clock_timestamp() LIMIT 256
) UNION (
    SELECT run_id FROM status.held WHERE deadline IS NOT NULL AND deadline <= clock_timestamp() LIMIT 256
) UNION (
    SELECT u.run_id FROM status.unfinished AS u JOIN status.generations AS g USING (run_id)
    WHERE NOT u.queued AND g.lease_until < clock_timestamp() - interval '10 seconds'
      AND (g.status = 3 OR g.attempt - g.handed_back >= 3) LIMIT 256
)

-- name: take_announcements
-- Index announcements_due; taking a row puts off the next try.
WITH due AS (
    SELECT run_id FROM status.announcements WHERE due_at <= clock_timestamp()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE status.announcements AS a SET due_at = clock_timestamp() + interval '5 seconds'
FROM due WHERE a.run_id = due.run_id RETURNING a.run_id, a.event_id, a.occurred_at

-- name: drop_announcements
DELETE FROM status.announcements WHERE run_id = ANY ($1::text[])
