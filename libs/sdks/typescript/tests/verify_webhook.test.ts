import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { ConfigurationError, verifyWebhook, WebhookVerificationError } from "../src/index.ts";

// The vector that the specification's own libraries are tested with.
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP = "1614265330";
const BODY = '{"test": 2432232314}';
const SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const now = new Date(Number(TIMESTAMP) * 1000);

function headers(more: Record<string, string | undefined> = {}) {
  return { "webhook-id": ID, "webhook-timestamp": TIMESTAMP, "webhook-signature": SIGNATURE, ...more };
}

test("the specification's vector is verified, as text and as bytes", async () => {
  assert.deepEqual(await verifyWebhook(BODY, headers(), SECRET, { now }), { test: 2432232314 });
  assert.deepEqual(await verifyWebhook(new TextEncoder().encode(BODY), new Headers(headers()), SECRET, { now }), {
    test: 2432232314,
  });
});

test("the secret's prefix may be left out, and headers have any spelling", async () => {
  const spelled = { "Webhook-Id": ID, "WEBHOOK-TIMESTAMP": [TIMESTAMP], "webhook-Signature": SIGNATURE };
  await verifyWebhook(BODY, spelled, SECRET.slice("whsec_".length), { now });
});

test("one fitting signature among several is enough, as during a rotation", async () => {
  const signature = `v1a,xx== v1,AAAA v2,${SIGNATURE.slice(3)} v1,%% ${SIGNATURE} junk`;
  await verifyWebhook(BODY, headers({ "webhook-signature": signature }), SECRET, { now });
});

test("bytes that are no UTF-8 are signed as they are", async () => {
  const body = new Uint8Array([...new TextEncoder().encode('{"a":"'), 0xff, ...new TextEncoder().encode('"}')]);
  const key = Buffer.from(SECRET.slice(6), "base64");
  const signature = createHmac("sha256", key).update(`${ID}.${TIMESTAMP}.`).update(body).digest("base64");
  await verifyWebhook(body, headers({ "webhook-signature": `v1,${signature}` }), SECRET, { now });
});

const REFUSED: Record<string, [string, Record<string, string | undefined>, Date]> = {
  "another body": [`${BODY} `, {}, now],
  "another id": [BODY, { "webhook-id": "msg_other" }, now],
  "another time": [BODY, { "webhook-timestamp": "1614265331" }, now],
  "a signature of another version": [BODY, { "webhook-signature": SIGNATURE.replace("v1", "v2") }, now],
  "a signature without a version": [BODY, { "webhook-signature": SIGNATURE.slice(3) }, now],
  "a cut signature": [BODY, { "webhook-signature": SIGNATURE.slice(0, -5) }, now],
  "no signature": [BODY, { "webhook-signature": undefined }, now],
  "no id": [BODY, { "webhook-id": undefined }, now],
  "no time": [BODY, { "webhook-timestamp": undefined }, now],
  "a time that is none": [BODY, { "webhook-timestamp": "yesterday" }, now],
  "an old delivery": [BODY, {}, new Date(now.getTime() + 301_000)],
  "a delivery of the future": [BODY, {}, new Date(now.getTime() - 301_000)],
};

for (const [what, [body, more, time]] of Object.entries(REFUSED)) {
  test(`${what} is refused`, async () => {
    await assert.rejects(verifyWebhook(body, headers(more), SECRET, { now: time }), WebhookVerificationError);
  });
}

test("another secret is refused, and one that is none is named", async () => {
  await assert.rejects(verifyWebhook(BODY, headers(), "whsec_AAAA", { now }), WebhookVerificationError);
  await assert.rejects(verifyWebhook(BODY, headers(), "whsec_", { now }), ConfigurationError);
  await assert.rejects(verifyWebhook(BODY, headers(), "no secret!", { now }), ConfigurationError);
});

test("the tolerance is the caller's choice", async () => {
  const late = new Date(now.getTime() + 900_000);
  await verifyWebhook(BODY, headers(), SECRET, { now: late, toleranceS: 1_000 });
});
