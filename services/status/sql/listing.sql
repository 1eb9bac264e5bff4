-- name: get_runs
-- By primary key; the place in the lane counts the partial index of queued runs.
SELECT g.*, s.key_id, s.job, s.metadata, u.base_model_slug, u.lane, u.work, p.before_count, p.before_work
FROM status.generations AS g
JOIN status.submissions AS s USING (run_id)
LEFT JOIN status.unfinished AS u USING (run_id)
LEFT JOIN LATERAL (
    SELECT count(*) AS before_count, coalesce(sum(b.work), 0)::float8 AS before_work
    FROM status.unfinished AS b
    WHERE b.queued AND b.base_model_slug = u.base_model_slug AND b.lane = u.lane AND b.run_id < u.run_id
) AS p ON u.queued
WHERE g.run_id = ANY ($1::text[])

-- name: list_run_ids
-- Index (organization_id, run_id), read backwards; run_ids are in the order of time.
SELECT run_id FROM status.generations
WHERE organization_id = $1 AND run_id < $2
  AND ($3::int[] IS NULL OR status = ANY ($3::int[]))
  AND ($4::text IS NULL OR model_id = $4)
  AND ($5::timestamptz IS NULL OR created_at > $5)
  AND ($6::timestamptz IS NULL OR created_at < $6)
ORDER BY organization_id DESC, run_id DESC LIMIT $7

-- name: get_statuses
SELECT run_id, status FROM status.generations WHERE run_id = ANY ($1::text[])

-- name: count_unfinished
-- By primary key: the counter that Accept reads under its lock.
SELECT unfinished FROM status.organizations WHERE organization_id = $1

-- name: queues
-- All unfinished runs by base model and lane.
SELECT u.base_model_slug, u.lane, count(*) FILTER (WHERE u.queued) AS waiting_count,
       coalesce(sum(u.work) FILTER (WHERE u.queued), 0)::float8 AS waiting_work,
       coalesce(sum(u.work * (1 - g.progress / 100.0)) FILTER (WHERE NOT u.queued), 0)::float8 AS running_work,
       coalesce(extract(epoch FROM clock_timestamp() - min(u.created_at) FILTER (WHERE u.queued)), 0)::float8 AS age_s
FROM status.unfinished AS u
LEFT JOIN status.generations AS g ON NOT u.queued AND g.run_id = u.run_id
GROUP BY u.base_model_slug, u.lane

-- name: outbox_sizes
SELECT (SELECT count(*) FROM status.unfinished WHERE stream_sequence IS NULL) AS unpublished,
       (SELECT count(*) FROM status.announcements) AS unannounced
