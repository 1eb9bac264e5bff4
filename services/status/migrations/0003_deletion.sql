-- The owner erased it: nobody reads it from then on; the eraser deletes it once its ending is announced.
ALTER TABLE status.generations ADD COLUMN deleted_at timestamptz;
CREATE INDEX generations_deleted ON status.generations (deleted_at) WHERE deleted_at IS NOT NULL;

-- Denoising steps that are done.
ALTER TABLE status.generations ADD COLUMN step smallint NOT NULL DEFAULT 0;
