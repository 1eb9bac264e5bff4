-- People, and what they did.

-- Scopes that the version before does not know: it would fail on such words in `permissions`.
ALTER TABLE auth.keys ADD COLUMN later_permissions text[] NOT NULL DEFAULT '{}';

-- email_key is the address as it is compared (services/auth/people.py).
CREATE TABLE auth.users (
    user_id text COLLATE "C" PRIMARY KEY,
    email text NOT NULL,
    email_key text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    password_hash text NOT NULL,
    is_administrator boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE auth.members (
    organization_id text COLLATE "C" NOT NULL REFERENCES auth.organizations,
    user_id text COLLATE "C" NOT NULL REFERENCES auth.users,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX members_by_user ON auth.members (user_id, joined_at);

-- The token is not here: only its SHA-256. A session ends with the membership that it works in.
CREATE TABLE auth.sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    user_id text COLLATE "C" NOT NULL REFERENCES auth.users,
    organization_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    address text NOT NULL,
    user_agent text NOT NULL,
    FOREIGN KEY (organization_id, user_id) REFERENCES auth.members (organization_id, user_id) ON DELETE CASCADE
);
CREATE INDEX sessions_by_user ON auth.sessions (user_id, session_id DESC);
CREATE INDEX sessions_by_member ON auth.sessions (organization_id, user_id);
CREATE INDEX sessions_by_expiry ON auth.sessions (expires_at);

-- One open invitation for each address; single use, because accepted_at is set under the row's lock.
CREATE TABLE auth.invitations (
    invitation_id text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL REFERENCES auth.organizations,
    email text NOT NULL,
    email_key text COLLATE "C" NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    invited_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX invitations_by_organization ON auth.invitations (organization_id, invitation_id DESC);
CREATE UNIQUE INDEX invitations_open ON auth.invitations (organization_id, email_key)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;

CREATE TABLE auth.password_resets (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    user_id text COLLATE "C" NOT NULL REFERENCES auth.users,
    expires_at timestamptz NOT NULL
);
CREATE INDEX password_resets_by_user ON auth.password_resets (user_id);
CREATE INDEX password_resets_by_expiry ON auth.password_resets (expires_at);

-- What happened, for the organization's owners. Users and keys are named as they were then.
CREATE TABLE auth.audit_entries (
    entry_id text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL REFERENCES auth.organizations,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    action text NOT NULL,
    user_id text NOT NULL,
    email text NOT NULL,
    key_id text NOT NULL,
    address text NOT NULL,
    subject_id text NOT NULL,
    details jsonb NOT NULL
);
CREATE INDEX audit_entries_by_organization ON auth.audit_entries (organization_id, entry_id DESC);
CREATE INDEX audit_entries_by_time ON auth.audit_entries (occurred_at);
