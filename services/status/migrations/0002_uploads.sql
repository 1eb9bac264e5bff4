-- Pictures of the clients' own, until they expire.
CREATE TABLE status.uploads (
    upload_id       text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL,
    expires_at      timestamptz NOT NULL,
    upload          bytea NOT NULL  -- imagineo.v1.Upload
);
CREATE INDEX uploads_expiry ON status.uploads (expires_at);
