-- name: list_base_models
-- Reads all rows: a platform has a handful.
SELECT * FROM catalog.base_models ORDER BY base_model_id DESC;

-- name: get_base_model
-- Primary key.
SELECT * FROM catalog.base_models WHERE base_model_id = $1;

-- name: get_base_model_by_slug
-- Unique index on slug.
SELECT * FROM catalog.base_models WHERE slug = $1;

-- name: put_base_model
-- Locks the row of the slug; a repeated put keeps the id and the time of creation.
INSERT INTO catalog.base_models (base_model_id, slug, manifest, files)
VALUES ($1, $2, $3::jsonb, $4::jsonb)
ON CONFLICT (slug) DO UPDATE SET manifest = excluded.manifest, files = excluded.files, updated_at = now()
RETURNING *;

-- name: list_loras
-- Ordered reads, each cut at the page's size: the platform's and the asker's by loras_by_owner, the public ones by
-- loras_public, those shared with the asker by loras_shared_with. $2 is the last id of the page before, or ''; $4, $5 and
-- $6 are a base model, a sharing and a pattern for ILIKE, or '' for all.
WITH visible AS (
    (SELECT * FROM catalog.loras
     WHERE organization_id = '' AND ($2 = '' OR model_id < $2) AND ($4 = '' OR base_model_id = $4)
       AND $5 IN ('', 'public')
       AND ($6 = '' OR concat_ws(E'\n', name, description, array_to_string(trigger_words, E'\n')) ILIKE $6)
     ORDER BY model_id DESC LIMIT $3)
    UNION
    (SELECT * FROM catalog.loras
     WHERE organization_id = $1 AND ($2 = '' OR model_id < $2) AND ($4 = '' OR base_model_id = $4)
       AND ($5 = '' OR sharing = $5)
       AND ($6 = '' OR concat_ws(E'\n', name, description, array_to_string(trigger_words, E'\n')) ILIKE $6)
     ORDER BY model_id DESC LIMIT $3)
    UNION
    (SELECT * FROM catalog.loras
     WHERE sharing = 'public' AND ($2 = '' OR model_id < $2) AND ($4 = '' OR base_model_id = $4)
       AND $5 IN ('', 'public')
       AND ($6 = '' OR concat_ws(E'\n', name, description, array_to_string(trigger_words, E'\n')) ILIKE $6)
     ORDER BY model_id DESC LIMIT $3)
    UNION
    (SELECT * FROM catalog.loras
     WHERE sharing = 'organizations' AND shared_with @> ARRAY[$1] AND ($2 = '' OR model_id < $2)
       AND ($4 = '' OR base_model_id = $4) AND $5 IN ('', 'organizations')
       AND ($6 = '' OR concat_ws(E'\n', name, description, array_to_string(trigger_words, E'\n')) ILIKE $6)
     ORDER BY model_id DESC LIMIT $3)
)
SELECT * FROM visible ORDER BY model_id DESC LIMIT $3;

-- name: get_loras
-- Primary key, one probe for each id; what is somebody else's and not shared is as if it were not there.
SELECT * FROM catalog.loras
WHERE model_id = ANY($2::text[])
  AND (organization_id IN ('', $1) OR sharing = 'public' OR (sharing = 'organizations' AND shared_with @> ARRAY[$1]));

-- name: put_lora
-- Locks the row of the owner's file name; a repeated put keeps the id and the time of creation.
INSERT INTO catalog.loras (model_id, organization_id, base_model_id, file_name, name, description, trigger_words,
                           naming, rank, store_key, sha256, size_bytes, findings, sharing, shared_with, sample_run_id)
VALUES ($1, $2, $3, $4, $5, $6, $7::text[], $8, $9, $10, $11, $12, $13::jsonb, $14, $15::text[], $16)
ON CONFLICT (organization_id, base_model_id, file_name) DO UPDATE
SET name = excluded.name, description = excluded.description, trigger_words = excluded.trigger_words,
    naming = excluded.naming, rank = excluded.rank, store_key = excluded.store_key, sha256 = excluded.sha256,
    size_bytes = excluded.size_bytes, findings = excluded.findings, updated_at = now()
RETURNING *;

-- name: update_lora
-- Locks the row. A null leaves the column as it is.
UPDATE catalog.loras
SET name = coalesce($3, name), description = coalesce($4, description),
    trigger_words = coalesce($5::text[], trigger_words), sharing = coalesce($6, sharing),
    shared_with = coalesce($7::text[], shared_with), updated_at = now()
WHERE model_id = $2 AND organization_id = $1 AND organization_id <> ''
RETURNING *;

-- name: delete_lora
-- Locks the row, then the file's. The file is looked at later: another LoRA may name it, and runs may still read it.
WITH gone AS (
    DELETE FROM catalog.loras
    WHERE model_id = $2 AND ($3 OR organization_id = $1 AND organization_id <> '')
    RETURNING model_id, store_key
), loose AS (
    INSERT INTO catalog.loose_files (store_key) SELECT store_key FROM gone
    ON CONFLICT (store_key) DO UPDATE SET since = now()
)
SELECT model_id FROM gone;
