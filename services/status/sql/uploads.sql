-- name: insert_upload
INSERT INTO status.uploads (upload_id, organization_id, expires_at, upload) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING

-- name: get_upload
-- By primary key. What is past its time is gone, whether it was swept or not.
SELECT organization_id, upload FROM status.uploads WHERE upload_id = $1 AND expires_at > now()

-- name: expired_uploads
-- Index uploads_expiry.
SELECT upload FROM status.uploads WHERE expires_at <= now() ORDER BY expires_at LIMIT $1

-- name: delete_uploads
DELETE FROM status.uploads WHERE upload_id = ANY ($1::text[])
