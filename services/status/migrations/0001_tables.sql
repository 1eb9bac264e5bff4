-- The tables of runs. Ids are time-ordered text, compared byte by byte.

-- A run's changing half. Narrow, with room on each page and no index on what changes, so that updates stay in place (HOT).
CREATE TABLE status.generations (
    run_id              text COLLATE "C" PRIMARY KEY,
    organization_id     text COLLATE "C" NOT NULL,
    model_id            text COLLATE "C" NOT NULL,
    status              smallint NOT NULL,
    progress            smallint NOT NULL DEFAULT 0,
    attempt             integer NOT NULL DEFAULT 0,
    handed_back         integer NOT NULL DEFAULT 0,
    version             bigint NOT NULL DEFAULT 1,
    worker_id           text NOT NULL DEFAULT '',
    incarnation         text NOT NULL DEFAULT '',
    lease_until         timestamptz,
    deadline            timestamptz,
    created_at          timestamptz NOT NULL,
    started_at          timestamptz,
    finished_at         timestamptz,
    accepted_estimate_s integer NOT NULL,
    error_code          text NOT NULL DEFAULT '',
    error_message       text NOT NULL DEFAULT '',
    outcome             bytea  -- imagineo.v1.Outcome of the attempt that ended it
) WITH (fillfactor = 70);
CREATE INDEX generations_of_organization ON status.generations (organization_id, run_id);

-- A run's other half, which never changes.
CREATE TABLE status.submissions (
    run_id   text COLLATE "C" PRIMARY KEY,
    key_id   text NOT NULL,
    seed     bigint NOT NULL,
    job      bytea NOT NULL,  -- imagineo.v1.Job
    metadata text NOT NULL    -- JSON object of strings
);

-- Unfinished runs alone: what is queued, and when the relay looks at each of them next. A row leaves with the terminal state.
CREATE TABLE status.unfinished (
    run_id          text COLLATE "C" PRIMARY KEY,
    base_model_slug text COLLATE "C" NOT NULL,
    lane            smallint NOT NULL,
    work            double precision NOT NULL,  -- megapixel-steps
    queued          boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL,
    deadline        timestamptz,
    due_at          timestamptz NOT NULL,
    stream_sequence bigint,                     -- null: not published as far as is known
    publications    integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX unfinished_due ON status.unfinished (due_at);
CREATE INDEX unfinished_place ON status.unfinished (base_model_slug, lane, run_id) INCLUDE (work) WHERE queued;
CREATE INDEX unfinished_running ON status.unfinished (run_id) WHERE NOT queued;
CREATE INDEX unfinished_deadline ON status.unfinished (deadline) WHERE deadline IS NOT NULL;

-- How many unfinished runs each organization has; always equal to what the rows say.
CREATE TABLE status.organizations (
    organization_id text COLLATE "C" PRIMARY KEY,
    unfinished      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- What an idempotency key answered.
CREATE TABLE status.idempotency (
    organization_id  text COLLATE "C" NOT NULL,
    key              text COLLATE "C" NOT NULL,
    run_id           text COLLATE "C" NOT NULL,
    body_sha256      bytea NOT NULL,
    seed             bigint NOT NULL,
    estimated_time_s integer NOT NULL,
    expires_at       timestamptz NOT NULL,
    PRIMARY KEY (organization_id, key)
);
CREATE INDEX idempotency_expiry ON status.idempotency (expires_at);

-- Terminal states that the stream EVENTS has not acknowledged yet.
CREATE TABLE status.announcements (
    run_id      text COLLATE "C" PRIMARY KEY,
    event_id    text NOT NULL,
    occurred_at timestamptz NOT NULL,
    due_at      timestamptz NOT NULL
);
CREATE INDEX announcements_due ON status.announcements (due_at);

-- Runs whose folder in the object store may hold images of attempts that lost.
CREATE TABLE status.leftovers (
    run_id          text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL,
    due_at          timestamptz NOT NULL
);
CREATE INDEX leftovers_due ON status.leftovers (due_at);
