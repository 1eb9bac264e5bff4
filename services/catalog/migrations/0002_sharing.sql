ALTER TABLE catalog.loras
    -- sharing says who may use it besides its owner; the platform's are everybody's whatever stands here.
    ADD COLUMN sharing text NOT NULL DEFAULT 'private' CHECK (sharing IN ('private', 'organizations', 'public')),
    -- shared_with are organizations, where sharing is 'organizations'.
    ADD COLUMN shared_with text[] NOT NULL DEFAULT '{}',
    -- findings are a LoraCheck as JSON; null: it was added before there was a check.
    ADD COLUMN findings jsonb,
    -- sample_run_id is the run that draws its sample picture; '': there is none.
    ADD COLUMN sample_run_id text NOT NULL DEFAULT '';

CREATE INDEX loras_public ON catalog.loras (model_id DESC) WHERE sharing = 'public';
CREATE INDEX loras_shared_with ON catalog.loras USING gin (shared_with) WHERE sharing = 'organizations';
-- Whether a file is named by any LoRA.
CREATE INDEX loras_by_file ON catalog.loras (store_key);

-- A file that is about to be stored, or that a deleted LoRA named: in time it is looked at, and goes if nobody names it.
CREATE TABLE catalog.loose_files (
    store_key text COLLATE "C" PRIMARY KEY,
    since     timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX loose_files_by_age ON catalog.loose_files (since);
