-- Runs that were accepted together. Where the items stand is counted from their rows, never stored.
CREATE TABLE status.batches (
    batch_id            text COLLATE "C" PRIMARY KEY,
    organization_id     text COLLATE "C" NOT NULL,
    key_id              text NOT NULL,
    name                text NOT NULL,
    metadata            text NOT NULL,     -- JSON object of strings
    items_count         integer NOT NULL,
    accepted_estimate_s integer NOT NULL,
    created_at          timestamptz NOT NULL,
    cancel_asked_at     timestamptz,
    is_canceling        boolean NOT NULL DEFAULT false  -- asked to stop, and some items were not told yet
);
CREATE INDEX batches_of_organization ON status.batches (organization_id, batch_id);
CREATE INDEX batches_canceling ON status.batches (batch_id) WHERE is_canceling;

-- Which run stands where in a batch. A row outlives its run and leaves with the batch.
CREATE TABLE status.batch_items (
    batch_id   text COLLATE "C" NOT NULL,
    item_index integer NOT NULL,
    run_id     text COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id, item_index)
);

-- Accepted runs that wait for their turn in a batch. A released one moves to `unfinished` in the same transaction, and
-- counts for its organization from then on. Whoever moves or deletes a row holds the lock of its run in `generations`.
CREATE TABLE status.held (
    run_id          text COLLATE "C" PRIMARY KEY,
    batch_id        text COLLATE "C" NOT NULL,
    base_model_slug text COLLATE "C" NOT NULL,
    item_index      integer NOT NULL,
    work            double precision NOT NULL,  -- megapixel-steps
    deadline        timestamptz
);
CREATE INDEX held_turn ON status.held (batch_id, base_model_slug, item_index);
CREATE INDEX held_deadline ON status.held (deadline) WHERE deadline IS NOT NULL;

-- What the feeder looks at: one row for each batch and base model that has held runs.
CREATE TABLE status.feeds (
    base_model_slug   text COLLATE "C" NOT NULL,
    batch_id          text COLLATE "C" NOT NULL,
    organization_id   text COLLATE "C" NOT NULL,
    lane              smallint NOT NULL,
    queued_runs_limit bigint NOT NULL,
    released_at       timestamptz,  -- when an item was released last
    PRIMARY KEY (base_model_slug, batch_id)
) WITH (fillfactor = 50);

ALTER TABLE status.submissions ADD COLUMN batch_id text COLLATE "C";  -- null: in no batch
ALTER TABLE status.unfinished ADD COLUMN batch_id text COLLATE "C";   -- the same
CREATE INDEX unfinished_batch ON status.unfinished (batch_id, base_model_slug) WHERE batch_id IS NOT NULL;
