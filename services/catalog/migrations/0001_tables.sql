-- Ids are UUIDv7 in an ordered alphabet: in collation "C" their order is the order of creation.

CREATE TABLE catalog.base_models (
    base_model_id text COLLATE "C" PRIMARY KEY,
    slug          text COLLATE "C" NOT NULL UNIQUE,
    -- manifest is what manifest.py reads: everything of a base model but its id, slug, files and times.
    manifest      jsonb NOT NULL,
    -- files are [{"path", "store_key", "sha256", "size_bytes"}], by path.
    files         jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE catalog.loras (
    model_id        text COLLATE "C" PRIMARY KEY,
    -- organization_id owns the LoRA; '' is the platform, whose LoRAs are shared with all.
    organization_id text COLLATE "C" NOT NULL DEFAULT '',
    base_model_id   text COLLATE "C" NOT NULL REFERENCES catalog.base_models,
    -- file_name is how the file was called when it was added: the same name for the same base is the same LoRA, improved.
    file_name       text NOT NULL,
    name            text NOT NULL,
    description     text NOT NULL,
    trigger_words   text[] NOT NULL,
    naming          text NOT NULL CHECK (naming IN ('diffusers', 'peft', 'kohya')),
    rank            integer NOT NULL CHECK (rank > 0),
    store_key       text NOT NULL,
    sha256          text NOT NULL,
    size_bytes      bigint NOT NULL CHECK (size_bytes > 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, base_model_id, file_name)
);

-- Pages of one owner, newest first.
CREATE INDEX loras_by_owner ON catalog.loras (organization_id, model_id DESC);
