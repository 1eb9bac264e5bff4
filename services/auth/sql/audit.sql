-- name: insert_audit_entry
INSERT INTO auth.audit_entries
    (entry_id, organization_id, action, user_id, email, key_id, address, subject_id, details)
VALUES ($1, $2, $3, $4, coalesce((SELECT email FROM auth.users WHERE user_id = $4), ''), $5, $6, $7, $8::jsonb)

-- name: list_audit_entries
-- Ids sort by time. Index: audit_entries_by_organization.
SELECT entry_id, organization_id, occurred_at, action, user_id, email, key_id, address, subject_id, details::text AS details
FROM auth.audit_entries
WHERE organization_id = $1 AND entry_id < $2 AND ($3 = '' OR action = $3)
ORDER BY entry_id DESC LIMIT $4

-- name: forget_audit_entries
-- At most $2 rows older than $1 seconds. Index: audit_entries_by_time.
DELETE FROM auth.audit_entries WHERE entry_id IN (
    SELECT entry_id FROM auth.audit_entries
    WHERE occurred_at < now() - make_interval(secs => $1) ORDER BY occurred_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
