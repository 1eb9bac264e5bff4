-- name: note_loose_file
-- Locks the file's row, if there is one; its time begins anew.
INSERT INTO catalog.loose_files (store_key) VALUES ($1) ON CONFLICT (store_key) DO UPDATE SET since = now();

-- name: list_loose_files
-- Index: loose_files_by_age.
SELECT store_key FROM catalog.loose_files WHERE since < now() - make_interval(secs => $1) ORDER BY since LIMIT $2;

-- name: hold_file
-- Until the transaction ends nobody else adds a LoRA of this file, or deletes the file.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0));

-- name: is_file_named
-- Index: loras_by_file.
SELECT EXISTS (SELECT FROM catalog.loras WHERE store_key = $1);

-- name: forget_loose_file
-- Primary key. One that was noted anew meanwhile stays.
DELETE FROM catalog.loose_files WHERE store_key = $1 AND since < now() - make_interval(secs => $2);
