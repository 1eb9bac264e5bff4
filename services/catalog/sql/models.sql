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
-- Two ordered reads of loras_by_owner, each cut at the page's size; $2 is the last id of the page before, or ''.
SELECT * FROM (
    (SELECT * FROM catalog.loras
     WHERE organization_id = '' AND ($2 = '' OR model_id < $2) ORDER BY model_id DESC LIMIT $3)
    UNION
    (SELECT * FROM catalog.loras
     WHERE organization_id = $1 AND ($2 = '' OR model_id < $2) ORDER BY model_id DESC LIMIT $3)
) AS visible
ORDER BY model_id DESC LIMIT $3;

-- name: get_loras
-- Primary key, one probe for each id; what is somebody else's is as if it were not there.
SELECT * FROM catalog.loras WHERE model_id = ANY($2::text[]) AND organization_id IN ('', $1);

-- name: put_lora
-- Locks the row of the owner's file name; a repeated put keeps the id and the time of creation.
INSERT INTO catalog.loras (model_id, organization_id, base_model_id, file_name, name, description, trigger_words,
                           naming, rank, store_key, sha256, size_bytes)
VALUES ($1, $2, $3, $4, $5, $6, $7::text[], $8, $9, $10, $11, $12)
ON CONFLICT (organization_id, base_model_id, file_name) DO UPDATE
SET name = excluded.name, description = excluded.description, trigger_words = excluded.trigger_words,
    naming = excluded.naming, rank = excluded.rank, store_key = excluded.store_key, sha256 = excluded.sha256,
    size_bytes = excluded.size_bytes, updated_at = now()
RETURNING *;
