-- name: insert_deliveries
-- An event that came before is passed over, as is an endpoint that was switched off meanwhile.
INSERT INTO webhooks.deliveries (
    delivery_id, organization_id, webhook_id, url, origin, event_id, event_type, subject_id, occurred_at, payload,
    state, round_at, next_attempt_at, created_at
)
SELECT v.delivery_id, v.organization_id, v.webhook_id, v.url, coalesce(e.origin, v.origin), v.event_id, v.event_type,
       v.subject_id, v.occurred_at, v.payload, 1, $11, $11, $11
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[],
    $10::bytea[]
) AS v (
    delivery_id, organization_id, webhook_id, url, origin, event_id, event_type, subject_id, occurred_at, payload
)
LEFT JOIN webhooks.endpoints AS e ON e.webhook_id = v.webhook_id AND e.active
WHERE v.webhook_id = '' OR e.webhook_id IS NOT NULL
ORDER BY v.event_id, v.webhook_id
ON CONFLICT (event_id, webhook_id) DO NOTHING

-- name: insert_note
-- A line of the log that nothing is posted for.
INSERT INTO webhooks.deliveries (
    delivery_id, organization_id, webhook_id, url, origin, event_id, event_type, subject_id, occurred_at, payload,
    state, round_at, last_error, created_at
)
VALUES ($1, $2, $3, '', $4, $5, $6, $3, $9, $7, 4, $9, $8, $9)
ON CONFLICT (event_id, webhook_id) DO NOTHING

-- name: take_turn
-- One replica claims at a time, so that the bounds hold over all of them. Held to the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('imagineo.webhooks.claim', 0))

-- name: claim
-- What is due: at most $4, $3 in the air at one origin; of origins where something failed within ten minutes at most $5,
-- and one in the air at each; of one organization $6 in the air. An event waits for the earlier ones of its subject at
-- its receiver. $1: now, $2: the end of the lease.
-- Origins are found by skipping from one to the next through deliveries_due: a long backlog of one costs nothing.
WITH RECURSIVE origins AS (
    (SELECT origin FROM webhooks.deliveries WHERE state = 1 ORDER BY origin LIMIT 1)
    UNION ALL
    SELECT (
        SELECT d.origin FROM webhooks.deliveries AS d WHERE d.state = 1 AND d.origin > o.origin ORDER BY d.origin LIMIT 1
    )
    FROM origins AS o WHERE o.origin IS NOT NULL
), places AS (
    SELECT o.origin, s.suspect, CASE WHEN s.suspect THEN 1 ELSE $3::int END - l.leased AS room
    FROM origins AS o
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT 1 FROM webhooks.deliveries AS d
            WHERE d.state = 1 AND d.tries > 0 AND d.origin = o.origin AND d.attempted_at > $1::timestamptz - interval '10 minutes'
        ) AS suspect
    ) AS s
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS leased FROM webhooks.deliveries AS d
        WHERE d.state = 1 AND d.leased_until IS NOT NULL AND d.leased_until > $1 AND d.origin = o.origin
    ) AS l
    WHERE o.origin IS NOT NULL
), owners AS (
    SELECT d.organization_id, count(*) AS leased FROM webhooks.deliveries AS d
    WHERE d.state = 1 AND d.leased_until IS NOT NULL AND d.leased_until > $1 GROUP BY d.organization_id
), candidates AS (
    SELECT d.delivery_id, p.suspect, d.next_attempt_at,
           row_number() OVER (PARTITION BY p.suspect ORDER BY d.next_attempt_at, d.delivery_id) AS place,
           row_number() OVER (PARTITION BY d.organization_id ORDER BY d.next_attempt_at, d.delivery_id)
               + coalesce(w.leased, 0) AS owners_place
    FROM places AS p
    CROSS JOIN LATERAL (
        SELECT d.delivery_id, d.organization_id, d.next_attempt_at FROM webhooks.deliveries AS d
        WHERE d.state = 1 AND d.origin = p.origin AND d.next_attempt_at <= $1
          AND NOT EXISTS (
              SELECT 1 FROM webhooks.deliveries AS e
              WHERE e.state = 1 AND e.subject_id = d.subject_id AND e.event_id < d.event_id
                AND e.webhook_id = d.webhook_id
          )
        ORDER BY d.next_attempt_at LIMIT least(greatest(p.room, 0), $4::int)
    ) AS d
    LEFT JOIN owners AS w ON w.organization_id = d.organization_id
), chosen AS (
    SELECT delivery_id, suspect FROM candidates
    WHERE (NOT suspect OR place <= $5::int) AND owners_place <= $6::int
    ORDER BY owners_place, next_attempt_at LIMIT $4
)
UPDATE webhooks.deliveries AS d SET leased_until = $2, next_attempt_at = $2, claims = d.claims + 1
FROM chosen AS c
LEFT JOIN webhooks.deliveries AS own ON own.delivery_id = c.delivery_id
LEFT JOIN webhooks.endpoints AS e ON e.webhook_id = own.webhook_id
LEFT JOIN webhooks.organizations AS o ON o.organization_id = own.organization_id
WHERE d.delivery_id = c.delivery_id AND d.state = 1
RETURNING d.delivery_id, d.organization_id, d.webhook_id, d.event_id, d.event_type, d.subject_id, d.occurred_at,
    d.payload, d.tries, d.round_at, d.claims, d.url AS own_url, e.url AS endpoint_url, c.suspect,
    CASE WHEN d.webhook_id = '' THEN o.secret ELSE e.secret END AS secret,
    CASE WHEN d.webhook_id = '' THEN o.previous_secret ELSE e.previous_secret END AS previous_secret,
    CASE WHEN d.webhook_id = '' THEN o.previous_until ELSE e.previous_until END AS previous_until

-- name: finish
-- The end of one attempt, unless another took the delivery over ($2 is the attempt's fencing token).
UPDATE webhooks.deliveries SET
    state = $3, attempts = attempts + 1, tries = tries + 1, next_attempt_at = $4, leased_until = NULL,
    attempted_at = $5, status_code = $6, duration_ms = $7, last_error = $8, last_response = $9
WHERE delivery_id = $1 AND claims = $2 AND state = 1
RETURNING webhook_id

-- name: note_success
UPDATE webhooks.endpoints SET failing_since = NULL WHERE webhook_id = $1 AND failing_since IS NOT NULL

-- name: note_failure
-- Gives since when it fails.
UPDATE webhooks.endpoints SET failing_since = coalesce(failing_since, $2) WHERE webhook_id = $1 AND active
RETURNING failing_since

-- name: list_deliveries
-- Index deliveries_of_webhook or deliveries_of_organization, backwards.
SELECT d.delivery_id, d.webhook_id, d.event_id, d.event_type, d.subject_id, d.state, d.attempts, d.status_code,
       d.duration_ms, d.last_error, d.last_response, d.created_at, d.attempted_at, d.next_attempt_at,
       CASE WHEN d.webhook_id = '' THEN d.url ELSE coalesce(e.url, '') END AS url
FROM webhooks.deliveries AS d LEFT JOIN webhooks.endpoints AS e ON e.webhook_id = d.webhook_id
WHERE d.organization_id = $1 AND ($2 = '' OR d.webhook_id = $2) AND d.delivery_id < $3
  AND ($4::int[] IS NULL OR d.state = ANY ($4::int[])) AND ($5 = '' OR d.subject_id = $5)
ORDER BY d.delivery_id DESC LIMIT $6

-- name: read_delivery
SELECT d.delivery_id, d.webhook_id, d.event_id, d.event_type, d.subject_id, d.state, d.attempts, d.status_code,
       d.duration_ms, d.last_error, d.last_response, d.created_at, d.attempted_at, d.next_attempt_at,
       CASE WHEN d.webhook_id = '' THEN d.url ELSE coalesce(e.url, '') END AS url, coalesce(e.active, true) AS active
FROM webhooks.deliveries AS d LEFT JOIN webhooks.endpoints AS e ON e.webhook_id = d.webhook_id
WHERE d.organization_id = $1 AND d.delivery_id = $2 AND ($3 = '' OR d.webhook_id = $3)

-- name: redeliver
-- A new round of attempts; one that is on its way is let be. The address is the endpoint's of now.
UPDATE webhooks.deliveries AS d SET
    state = 1, tries = 0, round_at = $2, next_attempt_at = $2, leased_until = NULL,
    origin = coalesce((SELECT e.origin FROM webhooks.endpoints AS e WHERE e.webhook_id = d.webhook_id), d.origin)
WHERE d.delivery_id = $1 AND (d.leased_until IS NULL OR d.leased_until <= $2 OR d.state <> 1)

-- name: forget_old
-- In pieces. delivery_ids are in the order of time.
DELETE FROM webhooks.deliveries WHERE delivery_id IN (
    SELECT delivery_id FROM webhooks.deliveries WHERE delivery_id < $1 AND state <> 1 ORDER BY delivery_id LIMIT $2
)
RETURNING delivery_id

-- name: backlog
-- For the metrics. What waits behind a receiver that does not answer is that receiver's matter, not a backlog of ours.
SELECT count(*) AS pending, coalesce(min(round_at), $1) AS oldest_at,
       coalesce(min(round_at) FILTER (WHERE tries = 0 AND NOT EXISTS (
           SELECT FROM webhooks.deliveries AS failing
           WHERE failing.origin = waiting.origin AND failing.state = 1 AND failing.tries > 0
       )), $1) AS oldest_untried_at
FROM webhooks.deliveries AS waiting WHERE state = 1
