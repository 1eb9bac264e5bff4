/**
 * Whether a delivery is the platform's, by Web Crypto alone. Owns no connection and no secret.
 *
 * Source: the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`, in `v1,` signatures.
 */

import { ConfigurationError, WebhookVerificationError } from "./errors.ts";
import type { WebhookEvent } from "./types.ts";

/** How to verify. */
export interface VerifyOptions {
  /** Seconds that the delivery's time may be off. 300. */
  readonly toleranceS?: number;
  /** The time to compare with; now where it is absent. */
  readonly now?: Date;
}

const TOLERANCE_S = 300;

/** Check a delivery's signature and time, and give the event.
 *
 * @param body - the body as it came, byte for byte: not parsed and written again.
 * @param headers - the request's headers, in any spelling.
 * @param secret - `whsec_…`; the webhook's own, or the account's for a run's `webhook_url`.
 * @throws WebhookVerificationError if it is not signed with the secret, or too old or too new.
 * @throws ConfigurationError if the secret is none.
 */
export async function verifyWebhook(
  body: string | Uint8Array<ArrayBuffer>,
  headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>,
  secret: string,
  { toleranceS = TOLERANCE_S, now = new Date() }: VerifyOptions = {},
): Promise<WebhookEvent> {
  const [id, timestamp, signatures] = NAMES.map((name) => headerOf(headers, name));
  if (!id || !timestamp || !signatures) {
    throw new WebhookVerificationError(`A delivery has the headers ${NAMES.join(", ")}; not all of them came.`);
  }
  const key = await crypto.subtle.importKey("raw", secretBytes(secret), HMAC, false, ["verify"]);
  const text = new TextEncoder();
  const content = typeof body === "string" ? text.encode(body) : body;
  const signed = await new Blob([`${id}.${timestamp}.`, content]).arrayBuffer();
  if (!(await anyFits(key, signatures, signed))) {
    throw new WebhookVerificationError("No signature of the delivery fits: another secret, or the body was changed.");
  }
  checkTime(timestamp, now, toleranceS);
  return JSON.parse(new TextDecoder().decode(content));
}

const NAMES = ["webhook-id", "webhook-timestamp", "webhook-signature"] as const;
const HMAC = { name: "HMAC", hash: "SHA-256" } as const;

/** `verify` compares in constant time. During a rotation there are several signatures, with spaces between. */
async function anyFits(key: CryptoKey, signatures: string, signed: ArrayBuffer): Promise<boolean> {
  let fits = false;
  for (const one of signatures.split(" ")) {
    const [version, encoded = ""] = one.split(",", 2);
    const bytes = version === "v1" ? decoded(encoded) : undefined;
    if (bytes !== undefined && (await crypto.subtle.verify(HMAC, key, bytes, signed))) fits = true;
  }
  return fits;
}

function checkTime(timestamp: string, now: Date, toleranceS: number): void {
  const aheadS = /^[0-9]{1,12}$/.test(timestamp) ? Number(timestamp) - now.getTime() / 1000 : Number.NaN;
  if (Math.abs(aheadS) <= toleranceS) return;
  const how = Number.isNaN(aheadS)
    ? "is no time"
    : `is ${Math.round(Math.abs(aheadS))} s ${aheadS < 0 ? "ago" : "ahead"}`;
  throw new WebhookVerificationError(`The delivery's timestamp ${how}; at most ${toleranceS} s are taken.`);
}

function secretBytes(secret: string): Uint8Array<ArrayBuffer> {
  const bytes = decoded(secret.trim().replace(/^whsec_/, ""));
  if (bytes === undefined || bytes.length === 0) throw new ConfigurationError("secret must be a webhook's whsec_….");
  return bytes;
}

function decoded(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function headerOf(headers: Parameters<typeof verifyWebhook>[1], wanted: string): string | undefined {
  if (headers instanceof Headers) return headers.get(wanted) ?? undefined;
  const found = Object.entries(headers).find(([name]) => name.toLowerCase() === wanted)?.[1];
  return typeof found === "object" ? found[0] : found;
}
