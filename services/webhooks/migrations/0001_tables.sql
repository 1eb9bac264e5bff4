-- Secrets are encrypted by the service (services/webhooks/vault.py); the database never sees one.
CREATE TABLE webhooks.organizations (
    organization_id text COLLATE "C" PRIMARY KEY,
    secret          bytea NOT NULL,
    previous_secret bytea,
    previous_until  timestamptz
);

CREATE TABLE webhooks.endpoints (
    webhook_id      text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL,
    url             text NOT NULL,
    origin          text COLLATE "C" NOT NULL,  -- scheme, host and port of the url
    description     text NOT NULL,
    events          text[] NOT NULL,
    active          boolean NOT NULL,
    disabled_reason smallint NOT NULL,          -- imagineo.v1.DisabledReason
    disabled_at     timestamptz,
    failing_since   timestamptz,
    secret          bytea NOT NULL,
    previous_secret bytea,
    previous_until  timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX endpoints_of_organization ON webhooks.endpoints (organization_id, webhook_id);

-- One event for one receiver: the queue and the log in one. While an attempt is on its way, next_attempt_at is when its
-- lease ends: whoever died with it leaves it due again.
CREATE TABLE webhooks.deliveries (
    delivery_id     text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL,
    webhook_id      text COLLATE "C" NOT NULL,  -- '': the run's own webhook_url
    url             text NOT NULL,              -- of such a run; '': the endpoint's
    origin          text COLLATE "C" NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    event_type      text NOT NULL,
    subject_id      text COLLATE "C" NOT NULL,
    occurred_at     timestamptz NOT NULL,
    payload         bytea NOT NULL,
    state           smallint NOT NULL,          -- imagineo.v1.DeliveryState; 1: pending
    attempts        integer NOT NULL DEFAULT 0,
    tries           integer NOT NULL DEFAULT 0, -- attempts since round_at
    round_at        timestamptz NOT NULL,       -- when it became due first, or was asked for again
    next_attempt_at timestamptz,
    leased_until    timestamptz,
    claims          integer NOT NULL DEFAULT 0, -- the fencing token of an attempt
    attempted_at    timestamptz,
    status_code     smallint NOT NULL DEFAULT 0,
    duration_ms     integer NOT NULL DEFAULT 0,
    last_error      text NOT NULL DEFAULT '',
    last_response   text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX deliveries_once ON webhooks.deliveries (event_id, webhook_id);
CREATE INDEX deliveries_due ON webhooks.deliveries (origin, next_attempt_at) WHERE state = 1;
CREATE INDEX deliveries_retried ON webhooks.deliveries (origin, attempted_at) WHERE state = 1 AND tries > 0;
CREATE INDEX deliveries_leased ON webhooks.deliveries (origin) WHERE state = 1 AND leased_until IS NOT NULL;
CREATE INDEX deliveries_order ON webhooks.deliveries (subject_id, event_id) WHERE state = 1;
CREATE INDEX deliveries_of_webhook ON webhooks.deliveries (webhook_id, delivery_id);
CREATE INDEX deliveries_of_organization ON webhooks.deliveries (organization_id, delivery_id);
