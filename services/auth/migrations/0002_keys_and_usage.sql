-- What a key is bound to, what was drawn with it, and whether image files tell their parameters.

ALTER TABLE auth.keys
    ADD COLUMN allowed_model_ids text[] NOT NULL DEFAULT '{}',     -- empty: all
    ADD COLUMN images_per_month bigint NOT NULL DEFAULT 0;         -- 0: only the organization's limit
ALTER TABLE auth.organizations ADD COLUMN omit_provenance boolean NOT NULL DEFAULT false;

-- A key that could do all there was can do what there is now.
UPDATE auth.keys SET permissions = permissions
    || '{webhooks:read,webhooks:write,organization:read,organization:write}'::text[]
WHERE permissions @> '{generations:read,generations:write,models:read,models:write,keys:read,keys:write,usage:read}';

-- The key of a held reservation, where the key has a limit of its own.
ALTER TABLE auth.reservations ADD COLUMN key_id text COLLATE "C";
CREATE INDEX reservations_of_key ON auth.reservations (key_id, month) WHERE key_id IS NOT NULL AND state = 'held';

-- Completed runs by day (UTC) of their acceptance; a key or model that is not known is empty.
CREATE TABLE auth.daily_usage (
    organization_id text COLLATE "C" NOT NULL,
    day date NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    model_id text COLLATE "C" NOT NULL,
    images bigint NOT NULL,
    megapixel_steps double precision NOT NULL,
    device_ms bigint NOT NULL,
    PRIMARY KEY (organization_id, day, key_id, model_id)
) WITH (fillfactor = 50);
CREATE INDEX daily_usage_of_key ON auth.daily_usage (key_id, day);

-- Hold reserved images against the limits of their keys, each key's under its row's lock; answers the runs that may
-- stay. The runs were reserved for their organizations just before. Locks: keys in "C" order, then reservations.
CREATE FUNCTION auth.hold_for_keys(key_ids text[], run_ids text[], positions int[])
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    this_month CONSTANT date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
    asked record;
    bound bigint;
    taken bigint;
BEGIN
    FOR asked IN
        SELECT a.key_id COLLATE "C" AS key_id, a.place, array_agg(a.run_id) AS wanted
        FROM unnest(key_ids, run_ids, positions) AS a (key_id, run_id, place)
        GROUP BY a.key_id COLLATE "C", a.place ORDER BY 1, 2
    LOOP
        SELECT k.images_per_month INTO bound FROM auth.keys AS k WHERE k.key_id = asked.key_id FOR NO KEY UPDATE;
        SELECT (
            SELECT coalesce(sum(d.images), 0) FROM auth.daily_usage AS d
            WHERE d.key_id = asked.key_id AND d.day >= this_month
        ) + (
            SELECT count(*) FROM auth.reservations AS r
            WHERE r.key_id = asked.key_id AND r.month = this_month AND r.state = 'held'
              AND r.run_id <> ALL (asked.wanted)
        ) INTO taken;
        IF bound = 0 OR taken + cardinality(asked.wanted) <= bound THEN
            UPDATE auth.reservations AS r SET key_id = asked.key_id
            WHERE r.run_id = ANY (asked.wanted) AND r.state = 'held';
            RETURN QUERY SELECT unnest(asked.wanted);
        END IF;
    END LOOP;
END
$$;

-- As auth.settle, which the version before this one calls, but answers what changed.
CREATE FUNCTION auth.settle_runs(run_ids text[], organization_ids text[], months date[], completed boolean[])
RETURNS TABLE (changed_run_id text, is_completed boolean) LANGUAGE plpgsql AS $$
DECLARE
    said record;
    known record;
BEGIN
    -- Locks every month concerned, in order; also those that are made here.
    INSERT INTO auth.usage AS u (organization_id, month)
    SELECT r.organization_id, r.month FROM auth.reservations AS r WHERE r.run_id = ANY (run_ids)
    UNION
    SELECT s.organization_id COLLATE "C", s.month
    FROM unnest(organization_ids, months, completed) AS s (organization_id, month, completed)
    WHERE s.completed AND s.organization_id <> ''
    ORDER BY 1, 2
    ON CONFLICT (organization_id, month) DO UPDATE SET settled = u.settled;
    FOR said IN
        SELECT s.run_id, s.organization_id, s.month, s.completed
        FROM unnest(run_ids, organization_ids, months, completed) AS s (run_id, organization_id, month, completed)
        ORDER BY s.run_id COLLATE "C"
    LOOP
        SELECT r.organization_id, r.month, r.state INTO known
        FROM auth.reservations AS r WHERE r.run_id = said.run_id FOR UPDATE;
        IF NOT FOUND THEN
            CONTINUE WHEN NOT said.completed OR said.organization_id = '';
            INSERT INTO auth.reservations (run_id, organization_id, month, state, changed_at)
            VALUES (said.run_id, said.organization_id, said.month, 'settled', now());
            UPDATE auth.usage AS u SET settled = u.settled + 1
            WHERE u.organization_id = said.organization_id AND u.month = said.month;
        ELSE
            CONTINUE WHEN known.state = 'settled' OR (known.state = 'released' AND NOT said.completed);
            UPDATE auth.reservations AS r
            SET state = CASE WHEN said.completed THEN 'settled' ELSE 'released' END, changed_at = now()
            WHERE r.run_id = said.run_id;
            UPDATE auth.usage AS u
            SET settled = u.settled + said.completed::int, reserved = u.reserved - (known.state = 'held')::int
            WHERE u.organization_id = known.organization_id AND u.month = known.month;
        END IF;
        changed_run_id := said.run_id;
        is_completed := said.completed;
        RETURN NEXT;
    END LOOP;
END
$$;
