-- Whose invitations end when they leave or may do less. Empty for a key's, an operator's, and those made before.
ALTER TABLE auth.invitations ADD COLUMN invited_by_user_id text COLLATE "C";

CREATE INDEX invitations_open_by_member ON auth.invitations (organization_id, invited_by_user_id)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
