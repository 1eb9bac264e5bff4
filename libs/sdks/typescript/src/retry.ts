/**
 * When a call is tried again, and after how long. Pure: chance comes as an argument, nobody sleeps here.
 *
 * A pause is a random part of an exponential range, its upper half: clients that failed together do not come back
 * together, and none comes back at once.
 */

/** What may happen to a call that is sent twice. */
export type Repeatable =
  /** Sent twice it does the same as once: reads, deletes, and submits with an Idempotency-Key. */
  | "always"
  /** Only where nothing can have happened: no connection was made, or the answer says so. */
  | "refused";

/** Bounds of one client's retries. */
export interface RetryPolicy {
  /** How often a call is tried again after the first time. */
  readonly maxRetries: number;
  /** The first pause's upper bound, in milliseconds; each later one is twice as long. */
  readonly firstPauseMs: number;
  /** No pause of our own is longer. */
  readonly maxPauseMs: number;
  /** A `Retry-After` over this is handed to the caller at once, as an error. */
  readonly maxRetryAfterMs: number;
}

/** Why an attempt failed: without a status, no answer came. */
export interface Failure {
  /** Whether it is certain that nothing reached the server. */
  readonly isUnsent?: boolean;
  readonly status?: number;
  readonly code?: string;
  readonly retryAfterMs?: number;
}

/** Milliseconds until the next attempt, or undefined: the failure is final.
 *
 * @param attempt - how many attempts were made, from 1.
 * @param random - a number from 0 to below 1.
 */
export function pauseBefore(
  failure: Failure,
  repeatable: Repeatable,
  attempt: number,
  policy: RetryPolicy,
  random: number,
): number | undefined {
  if (attempt > policy.maxRetries || !isTransient(failure, repeatable)) return undefined;
  const upperMs = Math.min(policy.maxPauseMs, policy.firstPauseMs * 2 ** (attempt - 1));
  if (failure.retryAfterMs === undefined) return (upperMs / 2) * (1 + random);
  if (failure.retryAfterMs > policy.maxRetryAfterMs) return undefined;
  return failure.retryAfterMs * (1 + random / 10);
}

function isTransient({ status, code, isUnsent }: Failure, repeatable: Repeatable): boolean {
  if (status === 429 || status === 503 || isUnsent) return true;
  if (repeatable === "refused") return false;
  if (status === undefined || status === 408) return true;
  return status >= 500 || (status === 409 && code === "idempotency_key_in_flight");
}

/** Milliseconds that a `Retry-After` header asks for: seconds, or a date; undefined where it is absent or nonsense.
 *
 * Source: RFC 9110, section 10.2.3.
 *
 * @param nowMs - the time, in milliseconds since 1970.
 */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  const value = header?.trim() ?? "";
  if (/^[0-9]{1,9}$/.test(value)) return Number(value) * 1000;
  if (!/[a-z]/i.test(value)) return undefined;
  const moment = Date.parse(value);
  return Number.isNaN(moment) ? undefined : Math.max(0, moment - nowMs);
}
