-- name: get_runs
-- By primary key. What is held in a batch stands behind its batch mates (index held_turn).
SELECT g.*, s.key_id, s.job, s.metadata, s.webhook_url, s.batch_id, u.base_model_slug, u.lane, h.held_before
FROM status.generations AS g JOIN status.submissions AS s USING (run_id) LEFT JOIN status.unfinished AS u USING (run_id)
LEFT JOIN LATERAL (
    SELECT own.item_index - (
        SELECT min(mate.item_index) FROM status.held AS mate
        WHERE mate.batch_id = own.batch_id AND mate.base_model_slug = own.base_model_slug
    ) AS held_before
    FROM status.held AS own WHERE own.run_id = g.run_id
) AS h ON s.batch_id IS NOT NULL AND g.status = 1
WHERE g.run_id = ANY ($1::text[])

-- name: count_before
-- How much waits in the lane of each run between a landmark and the run. Index unfinished_place, index only.
SELECT a.run_id, p.before_count, p.before_work
FROM unnest($1::text[], $2::text[], $3::int[], $4::text[]) AS a (run_id, base_model_slug, lane, landmark_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS before_count, coalesce(sum(b.work), 0)::float8 AS before_work
    FROM status.unfinished AS b
    WHERE b.queued AND b.base_model_slug = a.base_model_slug AND b.lane = a.lane
      AND b.run_id >= a.landmark_id AND b.run_id < a.run_id
) AS p

-- name: landmarks
-- Every 256th queued run of each lane, with what waits before it: nobody need count a long queue again.
SELECT base_model_slug, lane, run_id, before_count, before_work FROM (
    SELECT base_model_slug, lane, run_id, row_number() OVER w - 1 AS before_count, sum(work) OVER w - work AS before_work
    FROM status.unfinished WHERE queued
    WINDOW w AS (PARTITION BY base_model_slug, lane ORDER BY run_id ROWS UNBOUNDED PRECEDING)
) AS ranked
WHERE before_count > 0 AND before_count % 256 = 0
ORDER BY base_model_slug, lane, run_id

-- name: list_run_ids
-- Index (organization_id, run_id), read backwards; run_ids are in the order of time.
SELECT run_id FROM status.generations
WHERE organization_id = $1 AND run_id < $2 AND deleted_at IS NULL
  AND ($3::int[] IS NULL OR status = ANY ($3::int[]))
  AND ($4::text IS NULL OR model_id = $4)
  AND ($5::timestamptz IS NULL OR created_at > $5)
  AND ($6::timestamptz IS NULL OR created_at < $6)
ORDER BY organization_id DESC, run_id DESC LIMIT $7

-- name: list_batch_run_ids
-- The same of one batch ($8), each run by its key; few enough to be sorted.
SELECT g.run_id FROM status.generations AS g
WHERE g.run_id = ANY (ARRAY(SELECT i.run_id FROM status.batch_items AS i WHERE i.batch_id = $8))
  AND g.organization_id = $1 AND g.run_id < $2 AND g.deleted_at IS NULL
  AND ($3::int[] IS NULL OR g.status = ANY ($3::int[]))
  AND ($4::text IS NULL OR g.model_id = $4)
  AND ($5::timestamptz IS NULL OR g.created_at > $5)
  AND ($6::timestamptz IS NULL OR g.created_at < $6)
ORDER BY g.run_id DESC LIMIT $7

-- name: get_statuses
SELECT run_id, status FROM status.generations WHERE run_id = ANY ($1::text[])

-- name: count_unfinished
-- By primary key: the counter that Accept reads under its lock.
SELECT unfinished FROM status.organizations WHERE organization_id = $1

-- name: queues
-- All unfinished runs by base model and lane.
WITH waiting AS (
    SELECT base_model_slug, lane, count(*) AS waiting_count, sum(work) AS waiting_work, min(created_at) AS oldest_at
    FROM status.unfinished WHERE queued GROUP BY base_model_slug, lane
), running AS (
    SELECT u.base_model_slug, u.lane, count(*) AS running_count,
           sum(u.work * (1 - g.progress / 100.0)) AS running_work
    FROM status.unfinished AS u JOIN status.generations AS g USING (run_id)
    WHERE NOT u.queued GROUP BY u.base_model_slug, u.lane
)
SELECT base_model_slug, lane, coalesce(waiting_count, 0) AS waiting_count, coalesce(waiting_work, 0)::float8 AS waiting_work,
       coalesce(running_count, 0) AS running_count, coalesce(running_work, 0)::float8 AS running_work,
       coalesce(extract(epoch FROM clock_timestamp() - oldest_at), 0)::float8 AS age_s
FROM waiting FULL JOIN running USING (base_model_slug, lane)

-- name: outbox_sizes
SELECT unpublished, unpublished_age_s, unannounced, unannounced_age_s,
       (SELECT count(*) FROM status.held) AS held
FROM (
    SELECT count(*) AS unpublished,
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS unpublished_age_s
    FROM status.unfinished WHERE stream_sequence IS NULL
) AS jobs, (
    SELECT count(*) AS unannounced,
           coalesce(extract(epoch FROM clock_timestamp() - min(occurred_at)), 0)::float8 AS unannounced_age_s
    FROM status.announcements
) AS endings
