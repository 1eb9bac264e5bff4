-- name: base_models
SELECT DISTINCT base_model_slug FROM status.feeds

-- name: lock_window
-- One release at a time for each base model, over all replicas; held to the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('imagineo.status.window.' || $1::text, 0))

-- name: feeds
-- The batches of a base model: what each has in the queues or running, and what it holds, counted as far as the window
-- ($2) has places, at least to one. Those that are being canceled hold nothing any more.
WITH flying AS (
    SELECT batch_id, count(*) AS flying_count FROM status.unfinished
    WHERE base_model_slug = $1 AND batch_id IS NOT NULL GROUP BY batch_id
)
SELECT b.batch_id, b.organization_id, f.lane, f.released_at, f.queued_runs_limit - o.unfinished AS room_count,
       f.queued_runs_limit, coalesce(flying.flying_count, 0) AS flying_count, coalesce(h.held_count, 0) AS held_count
FROM (SELECT * FROM status.feeds WHERE base_model_slug = $1) AS f
FULL JOIN flying USING (batch_id)
JOIN status.batches AS b USING (batch_id)
JOIN status.organizations AS o ON o.organization_id = b.organization_id
LEFT JOIN LATERAL (
    SELECT count(*) AS held_count FROM (
        SELECT FROM status.held AS h JOIN status.generations AS g USING (run_id)
        WHERE h.batch_id = b.batch_id AND h.base_model_slug = $1 AND g.status = 1
        LIMIT greatest(1, $2 - (SELECT coalesce(sum(a.flying_count), 0) FROM flying AS a))
    ) AS items
) AS h ON f.batch_id IS NOT NULL AND NOT b.is_canceling
ORDER BY b.batch_id

-- name: release
-- Moves the next items of each batch ($2) into the queue's table, as many as are due ($3). Row locks on generations, as
-- everybody who changes a run takes them, without waiting for any: an item that is being canceled is passed over. The
-- caller publishes what this answers; what it cannot publish is the relay's, three seconds later.
WITH due AS (
    SELECT h.run_id FROM unnest($2::text[], $3::int[]) AS a (batch_id, due_count)
    CROSS JOIN LATERAL (
        SELECT h.run_id FROM status.held AS h JOIN status.generations AS g USING (run_id)
        WHERE h.batch_id = a.batch_id AND h.base_model_slug = $1 AND g.status = 1
        ORDER BY h.item_index LIMIT a.due_count FOR NO KEY UPDATE OF g SKIP LOCKED
    ) AS h
), taken AS (
    DELETE FROM status.held AS h USING due WHERE h.run_id = due.run_id
    RETURNING h.run_id, h.batch_id, h.base_model_slug, h.work, h.deadline
), put AS (
    INSERT INTO status.unfinished (run_id, base_model_slug, lane, work, created_at, deadline, due_at, batch_id)
    SELECT t.run_id, t.base_model_slug, f.lane, t.work, clock_timestamp(), t.deadline,
           clock_timestamp() + interval '3 seconds', t.batch_id
    FROM taken AS t JOIN status.feeds AS f USING (base_model_slug, batch_id)
), noted AS (
    UPDATE status.feeds AS f SET released_at = clock_timestamp()
    FROM (SELECT DISTINCT batch_id FROM taken) AS t WHERE f.base_model_slug = $1 AND f.batch_id = t.batch_id
)
SELECT t.run_id, b.organization_id, s.job FROM taken AS t
JOIN status.batches AS b USING (batch_id) JOIN status.submissions AS s USING (run_id) ORDER BY t.run_id

-- name: raise_counters
-- After lock_counters.
UPDATE status.organizations AS o SET unfinished = o.unfinished + a.amount
FROM unnest($1::text[], $2::bigint[]) AS a (organization_id, amount)
WHERE o.organization_id = a.organization_id

-- name: drop_feeds
-- Under the window's lock: nothing is held any more.
DELETE FROM status.feeds AS f WHERE f.base_model_slug = $1 AND NOT EXISTS (
    SELECT FROM status.held AS h WHERE h.batch_id = f.batch_id AND h.base_model_slug = f.base_model_slug
)
