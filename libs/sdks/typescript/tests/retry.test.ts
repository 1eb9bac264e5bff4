import assert from "node:assert/strict";
import { test } from "node:test";
import { type Failure, pauseBefore, type Repeatable, retryAfterMs } from "../src/retry.ts";

const POLICY = { maxRetries: 4, firstPauseMs: 500, maxPauseMs: 8_000, maxRetryAfterMs: 60_000 };

function isTriedAgain(failure: Failure, repeatable: Repeatable): boolean {
  return pauseBefore(failure, repeatable, 1, POLICY, 0.5) !== undefined;
}

test("what may be sent twice is tried again after what passes by itself", () => {
  for (const status of [408, 429, 500, 502, 503, 504]) assert.ok(isTriedAgain({ status }, "always"), String(status));
  assert.ok(isTriedAgain({}, "always"), "no answer");
  assert.ok(isTriedAgain({ status: 409, code: "idempotency_key_in_flight" }, "always"));
});

test("a refusal is final", () => {
  for (const status of [400, 401, 403, 404, 405, 409, 413, 415, 422]) {
    assert.ok(!isTriedAgain({ status, code: "some_code" }, "always"), String(status));
  }
});

test("what must not be done twice is tried again only where nothing was done", () => {
  for (const failure of [{ status: 429 }, { status: 503 }, { isUnsent: true }])
    assert.ok(isTriedAgain(failure, "refused"));
  for (const failure of [{}, { status: 408 }, { status: 500 }, { status: 502 }, { status: 504 }]) {
    assert.ok(!isTriedAgain(failure, "refused"), JSON.stringify(failure));
  }
});

test("the pauses double up to their bound, and chance takes up to half of each", () => {
  const many = { ...POLICY, maxRetries: 7 };
  const longest = [1, 2, 3, 4, 5, 6, 7].map((attempt) => pauseBefore({}, "always", attempt, many, 1));
  assert.deepEqual(longest, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
  assert.equal(pauseBefore({}, "always", 3, POLICY, 0), 1_000);
});

test("after the last retry the failure is final", () => {
  assert.notEqual(pauseBefore({}, "always", 4, POLICY, 0), undefined);
  assert.equal(pauseBefore({}, "always", 5, POLICY, 0), undefined);
});

test("Retry-After is kept to the second, up to a tenth is added, and one over the bound is for the caller", () => {
  const failure = { status: 429, retryAfterMs: 20_000 };
  assert.equal(pauseBefore(failure, "always", 1, POLICY, 0), 20_000);
  assert.equal(pauseBefore(failure, "always", 1, POLICY, 1), 22_000);
  assert.equal(pauseBefore({ status: 429, retryAfterMs: 3_600_000 }, "always", 1, POLICY, 0), undefined);
});

test("Retry-After is seconds or a date; nonsense is none", () => {
  const now = Date.UTC(2030, 0, 1);
  assert.equal(retryAfterMs("12", now), 12_000);
  assert.equal(retryAfterMs("Tue, 01 Jan 2030 00:00:30 GMT", now), 30_000);
  assert.equal(retryAfterMs("Mon, 31 Dec 2029 00:00:00 GMT", now), 0);
  for (const nonsense of [null, "", "soon", "-1", "1.5", "99999999999"]) {
    assert.equal(retryAfterMs(nonsense, now), undefined, String(nonsense));
  }
});
