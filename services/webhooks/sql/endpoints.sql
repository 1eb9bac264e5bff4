-- name: check_schema
SELECT count(*) FROM webhooks.endpoints WHERE webhook_id = ''

-- name: lock_organization
-- Held to the end of the transaction: endpoints are counted under it.
SELECT pg_advisory_xact_lock(hashtextextended('imagineo.webhooks.' || $1, 0))

-- name: count_endpoints
SELECT count(*) FROM webhooks.endpoints WHERE organization_id = $1

-- name: insert_endpoint
INSERT INTO webhooks.endpoints (
    webhook_id, organization_id, url, origin, description, events, active, disabled_reason, disabled_at, secret,
    created_at, updated_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $7 THEN NULL ELSE $10::timestamptz END, $9, $10, $10)
RETURNING *

-- name: read_endpoint
SELECT * FROM webhooks.endpoints WHERE webhook_id = $1 AND organization_id = $2

-- name: list_endpoints
-- Index endpoints_of_organization, backwards.
SELECT * FROM webhooks.endpoints WHERE organization_id = $1 AND webhook_id < $2
ORDER BY organization_id DESC, webhook_id DESC LIMIT $3

-- name: update_endpoint
-- A null leaves a column as it is. Switching on forgets failures; switching off twice keeps the first reason.
UPDATE webhooks.endpoints SET
    url = coalesce($3, url),
    origin = coalesce($4, origin),
    description = coalesce($5, description),
    events = coalesce($6::text[], events),
    active = coalesce($7, active),
    disabled_reason = CASE WHEN $7 IS NULL OR $7 = active THEN disabled_reason WHEN $7 THEN 0 ELSE $8 END,
    disabled_at = CASE WHEN $7 IS NULL OR $7 = active THEN disabled_at WHEN $7 THEN NULL ELSE $9 END,
    failing_since = CASE WHEN $7 THEN NULL ELSE failing_since END,
    updated_at = $9
WHERE webhook_id = $1 AND organization_id = $2
RETURNING *

-- name: move_pending
-- What waits for an endpoint follows it to its new address.
UPDATE webhooks.deliveries SET origin = $2 WHERE webhook_id = $1 AND state = 1 AND origin <> $2

-- name: switch_off
-- Once: whoever comes second finds it off.
UPDATE webhooks.endpoints SET active = false, disabled_reason = $2, disabled_at = $3
WHERE webhook_id = $1 AND active
RETURNING *

-- name: drop_pending
UPDATE webhooks.deliveries SET state = 4, next_attempt_at = NULL, leased_until = NULL, last_error = $2
WHERE webhook_id = $1 AND state = 1

-- name: delete_deliveries
-- In pieces: an endpoint may have a long log.
DELETE FROM webhooks.deliveries WHERE delivery_id IN (
    SELECT delivery_id FROM webhooks.deliveries WHERE webhook_id = $1 LIMIT $2
)

-- name: delete_endpoint
DELETE FROM webhooks.endpoints WHERE webhook_id = $1 AND organization_id = $2 RETURNING webhook_id

-- name: rotate_endpoint
UPDATE webhooks.endpoints SET previous_secret = secret, previous_until = $4, secret = $3
WHERE webhook_id = $1 AND organization_id = $2 RETURNING previous_until

-- name: rotate_organization
UPDATE webhooks.organizations SET previous_secret = secret, previous_until = $3, secret = $2
WHERE organization_id = $1 RETURNING previous_until

-- name: ensure_organization
INSERT INTO webhooks.organizations (organization_id, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: read_organization
SELECT * FROM webhooks.organizations WHERE organization_id = $1

-- name: subscribers
-- Who of these organizations is told of what; the filter itself is decided in services/webhooks/events.py.
SELECT webhook_id, organization_id, events FROM webhooks.endpoints
WHERE organization_id = ANY ($1::text[]) AND active
ORDER BY webhook_id
