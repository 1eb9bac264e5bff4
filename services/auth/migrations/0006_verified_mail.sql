-- When a link that was mailed to the user came back. Those who were here before are trusted as they were.
ALTER TABLE auth.users ADD COLUMN verified_at timestamptz;
UPDATE auth.users SET verified_at = created_at;

CREATE TABLE auth.mail_verifications (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    user_id text COLLATE "C" NOT NULL REFERENCES auth.users,
    expires_at timestamptz NOT NULL
);
CREATE INDEX mail_verifications_by_user ON auth.mail_verifications (user_id);
CREATE INDEX mail_verifications_by_expiry ON auth.mail_verifications (expires_at);
