-- Who is told of the run's ending besides the organization's endpoints; empty: nobody.
ALTER TABLE status.submissions ADD COLUMN webhook_url text NOT NULL DEFAULT '';
