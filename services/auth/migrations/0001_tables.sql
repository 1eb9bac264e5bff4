-- Limits of 0 in organizations mean "the plan's" (services/auth/plans.py).
CREATE TABLE auth.organizations (
    organization_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    plan text NOT NULL CHECK (plan IN ('free', 'basic', 'premium')),
    requests_per_minute bigint NOT NULL DEFAULT 0,
    images_per_month bigint NOT NULL DEFAULT 0,
    queued_runs bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The secret is not here: only its SHA-256.
CREATE TABLE auth.keys (
    key_id text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL REFERENCES auth.organizations,
    name text NOT NULL,
    prefix text NOT NULL,
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    permissions text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX keys_by_organization ON auth.keys (organization_id, key_id DESC);

-- The log of counted requests (services/auth/window.py says its form). A crash of the server empties it: the price of
-- not writing a log record for each request is one fresh minute after a crash.
CREATE UNLOGGED TABLE auth.windows (
    organization_id text COLLATE "C" PRIMARY KEY,
    moments_us bigint[] NOT NULL,
    counts bigint[] NOT NULL
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Images of one calendar month (UTC); reserved counts the reservations that are held.
CREATE TABLE auth.usage (
    organization_id text COLLATE "C" NOT NULL,
    month date NOT NULL,
    settled bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (organization_id, month)
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- One image of one run. held -> settled | released; released -> settled where the run completed after all.
CREATE TABLE auth.reservations (
    run_id text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL,
    month date NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'settled', 'released')),
    changed_at timestamptz NOT NULL
);
CREATE INDEX reservations_held ON auth.reservations (changed_at, run_id) WHERE state = 'held';
CREATE INDEX reservations_closed ON auth.reservations (changed_at) WHERE state <> 'held';

-- Let requests into their windows and reserve images, for many organizations in one statement.
-- The first three arrays describe organizations: request_counts asks, request_limits and image_limits bound.
-- The last three describe images: run_positions is the place (from 1) of the asking request among its organization's.
-- Locks: for each organization in "C" order its window, then its month of usage, then its reservations; settle() takes
-- usage and reservations in the same order, so that nobody waits in a circle.
CREATE FUNCTION auth.admit(
    organization_ids text[], request_counts int[], request_limits bigint[], image_limits bigint[],
    run_ids text[], run_organization_ids text[], run_positions int[]
) RETURNS TABLE (
    organization_id text, admitted int, used_before bigint, now_us bigint, oldest_us bigint, free_us bigint,
    held_run_ids text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    second_us CONSTANT bigint := 1000000;
    window_us CONSTANT bigint := 60 * second_us;
    asked record;
    moments bigint[];
    tallies bigint[];
    first int;
    last int;
    back_us bigint;
    rest bigint;
    wanted text[];
BEGIN
    -- A counted request or a reservation may be lost with the server; settle() makes a lost reservation again.
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR asked IN
        SELECT a.organization_id COLLATE "C" AS organization_id, a.request_count, a.request_limit, a.image_limit
        FROM unnest(organization_ids, request_counts, request_limits, image_limits)
            AS a (organization_id, request_count, request_limit, image_limit)
        ORDER BY 1
    LOOP
        organization_id := asked.organization_id;
        SELECT w.moments_us, w.counts INTO moments, tallies
        FROM auth.windows AS w WHERE w.organization_id = asked.organization_id FOR UPDATE;
        IF NOT FOUND THEN
            INSERT INTO auth.windows VALUES (asked.organization_id, '{}', '{}') ON CONFLICT DO NOTHING;
            SELECT w.moments_us, w.counts INTO moments, tallies
            FROM auth.windows AS w WHERE w.organization_id = asked.organization_id FOR UPDATE;
        END IF;
        -- Read under the lock: a time read before it could lie before that of the one who held it.
        now_us := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

        last := cardinality(moments);
        back_us := CASE WHEN last > 0 THEN greatest(moments[last] - now_us, 0) ELSE 0 END;
        IF back_us > 0 THEN
            FOR i IN 1..last LOOP
                moments[i] := moments[i] - back_us;
            END LOOP;
        END IF;
        first := 1;
        WHILE first <= last AND moments[first] <= now_us - window_us LOOP
            first := first + 1;
        END LOOP;
        IF first > 1 THEN
            moments := moments[first:];
            tallies := tallies[first:];
            last := cardinality(moments);
        END IF;
        used_before := 0;
        FOR i IN 1..last LOOP
            used_before := used_before + tallies[i];
        END LOOP;

        admitted := least(asked.request_count, greatest(asked.request_limit - used_before, 0));
        IF admitted > 0 THEN
            IF last > 0 AND moments[last] / second_us = now_us / second_us THEN
                moments[last] := now_us;
                tallies[last] := tallies[last] + admitted;
            ELSE
                last := last + 1;
                moments[last] := now_us;
                tallies[last] := admitted;
            END IF;
        END IF;
        IF admitted > 0 OR back_us > 0 THEN
            UPDATE auth.windows AS w SET moments_us = moments, counts = tallies
            WHERE w.organization_id = asked.organization_id;
        END IF;
        oldest_us := CASE WHEN last > 0 THEN moments[1] ELSE now_us - window_us END;
        free_us := now_us;
        rest := used_before + admitted;
        FOR i IN 1..last LOOP
            EXIT WHEN rest < asked.request_limit;
            rest := rest - tallies[i];
            free_us := moments[i] + window_us;
        END LOOP;

        held_run_ids := '{}';
        IF cardinality(run_ids) > 0 THEN
            wanted := ARRAY(
                SELECT r.run_id FROM unnest(run_ids, run_organization_ids, run_positions)
                    AS r (run_id, organization_id, place)
                WHERE r.organization_id = asked.organization_id AND r.place <= admitted ORDER BY r.place
            );
            IF cardinality(wanted) > 0 THEN
                held_run_ids := auth.reserve(asked.organization_id, wanted, asked.image_limit, now_us);
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Reserve one image for each run in turn until the month is full; answers the runs that hold one now. A run that holds
-- one already keeps it and is not charged again.
CREATE FUNCTION auth.reserve(organization text, wanted text[], image_limit bigint, now_us bigint)
RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    this_month CONSTANT date := (to_timestamp(now_us / 1000000) AT TIME ZONE 'UTC')::date
        - (extract(day FROM to_timestamp(now_us / 1000000) AT TIME ZONE 'UTC')::int - 1);
    taken bigint;
    already text[];
    fresh text[];
BEGIN
    SELECT u.settled + u.reserved INTO taken
    FROM auth.usage AS u WHERE u.organization_id = organization AND u.month = this_month FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO auth.usage (organization_id, month) VALUES (organization, this_month) ON CONFLICT DO NOTHING;
        SELECT u.settled + u.reserved INTO taken
        FROM auth.usage AS u WHERE u.organization_id = organization AND u.month = this_month FOR UPDATE;
    END IF;
    already := ARRAY(
        SELECT r.run_id FROM auth.reservations AS r
        WHERE r.run_id = ANY (wanted) AND r.organization_id = organization AND r.state <> 'released'
    );
    WITH chosen AS (
        SELECT w.run_id FROM unnest(wanted) WITH ORDINALITY AS w (run_id, place)
        WHERE w.run_id <> ALL (already)
        GROUP BY w.run_id ORDER BY min(w.place) LIMIT greatest(image_limit - taken, 0)
    ), put AS (
        INSERT INTO auth.reservations AS r (run_id, organization_id, month, state, changed_at)
        SELECT c.run_id, organization, this_month, 'held', to_timestamp(now_us / 1000000.0) FROM chosen AS c
        ON CONFLICT (run_id) DO UPDATE
            SET state = 'held', month = excluded.month, changed_at = excluded.changed_at
            WHERE r.state = 'released' AND r.organization_id = excluded.organization_id
        RETURNING r.run_id
    )
    SELECT coalesce(array_agg(p.run_id), '{}') INTO fresh FROM put AS p;
    IF cardinality(fresh) > 0 THEN
        UPDATE auth.usage AS u SET reserved = u.reserved + cardinality(fresh)
        WHERE u.organization_id = organization AND u.month = this_month;
    END IF;
    RETURN already || fresh;
END
$$;

-- Close reservations: completed runs count, the others give their image back. Idempotent, in any order: a run that
-- completed counts once, whatever else is said of it, also where its reservation was lost (organization and month of
-- the run make it again). An empty organization means "as reserved"; an unknown run without one is passed over.
CREATE FUNCTION auth.settle(run_ids text[], organization_ids text[], months date[], completed boolean[])
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    changed int := 0;
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
        changed := changed + 1;
    END LOOP;
    RETURN changed;
END
$$;
