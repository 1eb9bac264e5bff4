-- name: known_batch
-- By primary key; the organization's counter lock orders this after every earlier acceptance.
SELECT batch_id, organization_id, items_count, accepted_estimate_s, created_at FROM status.batches WHERE batch_id = $1

-- name: insert_batch
INSERT INTO status.batches (
    batch_id, organization_id, key_id, name, metadata, items_count, accepted_estimate_s, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, now())
RETURNING batch_id, organization_id, items_count, accepted_estimate_s, created_at

-- name: insert_items
-- All rows of all items ($1: their batch, $2: its organization, $3: its limit of unfinished runs) in one statement. None
-- of them counts as unfinished until it is released.
WITH new AS (
    SELECT * FROM unnest(
        $4::int[], $5::text[], $6::text[], $7::text[], $8::int[], $9::float8[], $10::timestamptz[], $11::int[],
        $12::text[], $13::bigint[], $14::bytea[], $15::text[], $16::text[]
    ) AS a (
        item_index, run_id, model_id, base_model_slug, lane, work, deadline, estimate_s, key_id, seed, job, metadata,
        webhook_url
    )
), changing AS (
    INSERT INTO status.generations (
        run_id, organization_id, model_id, status, deadline, created_at, accepted_estimate_s
    )
    SELECT run_id, $2, model_id, 1, deadline, now(), estimate_s FROM new
), lasting AS (
    INSERT INTO status.submissions (run_id, key_id, seed, job, metadata, webhook_url, batch_id)
    SELECT run_id, key_id, seed, job, metadata, webhook_url, $1 FROM new
), placed AS (
    INSERT INTO status.batch_items (batch_id, item_index, run_id) SELECT $1, item_index, run_id FROM new
), fed AS (
    INSERT INTO status.feeds (base_model_slug, batch_id, organization_id, lane, queued_runs_limit)
    SELECT base_model_slug, $1, $2, max(lane), $3 FROM new GROUP BY base_model_slug
)
INSERT INTO status.held (run_id, batch_id, base_model_slug, item_index, work, deadline)
SELECT run_id, $1, base_model_slug, item_index, work, deadline FROM new

-- name: read_batches
-- Batches by id with their items counted from the rows. The array makes it look each run up by its key: a join would
-- read a small table of runs whole for each batch.
SELECT b.*, c.* FROM status.batches AS b CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE g.status = 1) AS queued, count(*) FILTER (WHERE g.status = 2) AS running,
           count(*) FILTER (WHERE g.status = 3) AS canceling, count(*) FILTER (WHERE g.status = 4) AS completed,
           count(*) FILTER (WHERE g.status = 5) AS failed, count(*) FILTER (WHERE g.status = 6) AS canceled,
           count(*) FILTER (WHERE g.status = 7) AS expired,
           coalesce(sum(g.progress) FILTER (WHERE g.status < 4), 0) AS unfinished_progress,
           min(g.started_at) AS started_at, max(g.finished_at) AS finished_at
    FROM status.generations AS g
    WHERE g.run_id = ANY (ARRAY(SELECT i.run_id FROM status.batch_items AS i WHERE i.batch_id = b.batch_id))
      AND g.deleted_at IS NULL
) AS c
WHERE b.batch_id = ANY ($1::text[]) ORDER BY b.batch_id DESC

-- name: problems
-- The first items of each batch that failed.
SELECT b.batch_id, p.* FROM unnest($1::text[]) AS b (batch_id) CROSS JOIN LATERAL (
    SELECT i.item_index, i.run_id, g.error_code, g.error_message
    FROM status.generations AS g JOIN status.batch_items AS i ON i.batch_id = b.batch_id AND i.run_id = g.run_id
    WHERE g.run_id = ANY (ARRAY(SELECT m.run_id FROM status.batch_items AS m WHERE m.batch_id = b.batch_id))
      AND g.status = 5 AND g.deleted_at IS NULL
    ORDER BY i.item_index LIMIT $2
) AS p

-- name: work_left
-- Megapixel-steps that wait in the batches or in the queues, by base model.
SELECT batch_id, base_model_slug, sum(work) AS work FROM (
    SELECT batch_id, base_model_slug, work FROM status.held WHERE batch_id = ANY ($1::text[])
    UNION ALL
    SELECT batch_id, base_model_slug, work FROM status.unfinished WHERE batch_id = ANY ($1::text[])
) AS w GROUP BY batch_id, base_model_slug

-- name: list_batch_ids
-- Index batches_of_organization, read backwards; ids are in the order of time.
SELECT batch_id FROM status.batches WHERE organization_id = $1 AND batch_id < $2
ORDER BY organization_id DESC, batch_id DESC LIMIT $3

-- name: owner
SELECT organization_id FROM status.batches WHERE batch_id = $1

-- name: list_items
-- By primary key.
SELECT item_index, run_id FROM status.batch_items WHERE batch_id = $1 AND item_index >= $2 ORDER BY item_index LIMIT $3

-- name: ask_cancel
-- Only where something is left to stop.
UPDATE status.batches AS b SET cancel_asked_at = coalesce(b.cancel_asked_at, clock_timestamp()), is_canceling = true
WHERE b.batch_id = $1 AND EXISTS (
    SELECT FROM status.generations AS g
    WHERE g.run_id = ANY (ARRAY(SELECT i.run_id FROM status.batch_items AS i WHERE i.batch_id = $1))
      AND g.status IN (1, 2)
)

-- name: left_to_cancel
-- Items that were not told yet to stop. Index batches_canceling.
SELECT g.run_id FROM status.generations AS g WHERE g.run_id = ANY (ARRAY(
    SELECT i.run_id FROM status.batches AS b JOIN status.batch_items AS i USING (batch_id) WHERE b.is_canceling
)) AND g.status IN (1, 2) ORDER BY g.run_id LIMIT $1

-- name: end_cancels
UPDATE status.batches AS b SET is_canceling = false WHERE b.is_canceling AND NOT EXISTS (
    SELECT FROM status.generations AS g
    WHERE g.run_id = ANY (ARRAY(SELECT i.run_id FROM status.batch_items AS i WHERE i.batch_id = b.batch_id))
      AND g.status IN (1, 2)
)
