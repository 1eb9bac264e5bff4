-- The member who made a key, or who made the key that did. Empty for an operator's, and where it is not known.
ALTER TABLE auth.keys ADD COLUMN created_by_user_id text COLLATE "C";

CREATE INDEX keys_by_maker ON auth.keys (organization_id, created_by_user_id, key_id) WHERE revoked_at IS NULL;

-- Of the keys that there are, the log tells.
WITH RECURSIVE made (key_id, user_id) AS (
    SELECT e.subject_id COLLATE "C", e.user_id COLLATE "C" FROM auth.audit_entries AS e
    WHERE e.action = 'key.created' AND e.user_id <> ''
    UNION
    SELECT e.subject_id COLLATE "C", m.user_id FROM auth.audit_entries AS e JOIN made AS m ON m.key_id = e.key_id
    WHERE e.action = 'key.created'
)
UPDATE auth.keys AS k SET created_by_user_id = made.user_id FROM made WHERE made.key_id = k.key_id;

-- Who is let in no more, and whose keys are refused as long.
ALTER TABLE auth.users ADD COLUMN disabled_at timestamptz;
