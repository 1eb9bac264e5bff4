import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BodyTooLargeError,
  ConnectionFailedError,
  Imagineo,
  ImagineoError,
  InvalidParameterError,
  NotFoundError,
  QuotaExceededError,
  RequestTimeoutError,
  ServerError,
  UnavailableError,
  UnexpectedAnswerError,
} from "../src/index.ts";
import { submit } from "../src/submission.ts";
import { type Call, json } from "../src/transport.ts";
import { hangsUp, keepsSilent, refuses, says, serving, transportTo } from "./server.ts";

const SUBMIT = submit("/v1/generate", { positive_prompt: "é" }, {});
const READ = { method: "GET", path: "/v1/limits", repeatable: "always" } as const satisfies Call;
const MAKE_KEY = { method: "POST", path: "/v1/keys", content: json({}), repeatable: "refused" } as const satisfies Call;
const OK = says(200, { fine: true });

test("a submit is sent again with the same body and the same Idempotency-Key", async () => {
  await serving([refuses(503, "unavailable"), hangsUp, OK], async (url, seen) => {
    assert.deepEqual(await transportTo(url).json(SUBMIT), { fine: true });
    assert.equal(seen.length, 3);
    assert.match(String(seen[0]?.headers["idempotency-key"]), /^[0-9a-f]{32}$/);
    assert.equal(new Set(seen.map(({ headers }) => headers["idempotency-key"])).size, 1);
    assert.deepEqual(new Set(seen.map(({ body }) => body)), new Set(['{"positive_prompt":"é"}']));
    assert.equal(seen[0]?.headers["x-api-key"], "imag_test");
  });
});

test("two submits have two keys; a caller's own is kept", () => {
  const keys = [submit("/", {}, {}), submit("/", {}, {}), submit("/", {}, { idempotencyKey: "mine" })].map(
    (call) => call.headers?.["Idempotency-Key"],
  );
  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[2], "mine");
});

test("what must not be done twice is not sent again when its answer is lost", async () => {
  for (const answer of [hangsUp, refuses(500, "internal_error"), says(502, {})]) {
    await serving([answer, OK], async (url, seen) => {
      await assert.rejects(transportTo(url).json(MAKE_KEY), ImagineoError);
      assert.equal(seen.length, 1);
    });
  }
});

test("what must not be done twice is sent again where it was refused for now", async () => {
  await serving([refuses(503, "unavailable"), refuses(429, "rate_limited"), OK], async (url, seen) => {
    await transportTo(url).json(MAKE_KEY);
    assert.equal(seen.length, 3);
  });
});

test("the last failure is thrown when the retries are used up", async () => {
  await serving([refuses(503, "unavailable")], async (url, seen) => {
    await assert.rejects(transportTo(url).json(READ), UnavailableError);
    assert.equal(seen.length, 3);
  });
});

test("a Retry-After over the bound is thrown at once, and tells the seconds", async () => {
  await serving([refuses(429, "quota_exceeded", { "Retry-After": "3600" })], async (url, seen) => {
    await assert.rejects(transportTo(url).json(READ), (problem: QuotaExceededError) => {
      assert.ok(problem instanceof QuotaExceededError);
      assert.equal(problem.retryAfterS, 3600);
      return true;
    });
    assert.equal(seen.length, 1);
  });
});

test("a delete whose answer was lost takes 404 for done; a first 404 is an error", async () => {
  await serving([hangsUp, refuses(404, "not_found")], async (url) => {
    await transportTo(url).delete("/v1/keys/key_1");
  });
  await serving([refuses(404, "not_found")], async (url) => {
    await assert.rejects(transportTo(url).delete("/v1/keys/key_1"), NotFoundError);
  });
});

test("an attempt ends at its time limit, its body included", async () => {
  const stalls = says(200, {});
  for (const answer of [keepsSilent, ((_request, response) => response.write("{")) satisfies typeof stalls]) {
    await serving([answer], async (url) => {
      const transport = transportTo(url, { timeoutS: 0.05 });
      await assert.rejects(transport.json({ ...MAKE_KEY, options: {} }), RequestTimeoutError);
    });
  }
});

test("the caller's signal ends a call, a pause too, with its own reason", async () => {
  const reason = new Error("changed my mind");
  await serving([keepsSilent], async (url) => {
    const signal = AbortSignal.abort(reason);
    await assert.rejects(transportTo(url).json({ ...READ, options: { signal } }), reason);
    const later = new AbortController();
    const call = transportTo(url).json({ ...READ, options: { signal: later.signal } });
    later.abort(reason);
    await assert.rejects(call, reason);
  });
  const pausing = new AbortController();
  const refuse = refuses(503, "unavailable");
  const answer: typeof refuse = (...all) => {
    refuse(...all);
    setTimeout(() => pausing.abort(reason), 20);
  };
  await serving([answer], async (url) => {
    const retry = { maxRetries: 9, firstPauseMs: 60_000, maxPauseMs: 60_000, maxRetryAfterMs: 0 };
    const call = transportTo(url, { retry }).json({ ...READ, options: { signal: pausing.signal } });
    await assert.rejects(call, reason);
  });
});

test("nobody there is a ConnectionFailedError in one line, without the key", async () => {
  let gone = "";
  await serving([OK], (url) => {
    gone = url;
    return Promise.resolve();
  });
  await assert.rejects(transportTo(gone).json(MAKE_KEY), (problem: ConnectionFailedError) => {
    assert.equal(problem.name, "ConnectionFailedError");
    assert.match(problem.message, /^http:\/\/127\.0\.0\.1:[0-9]+ cannot be reached.*ECONNREFUSED\)\.$/);
    assert.ok(problem.isUnsent);
    return true;
  });
});

test("a refusal tells all that the server told", async () => {
  const error = {
    code: "invalid_parameter",
    message: "No.",
    param: "width",
    details: { allowed: "8" },
    request_id: "r",
  };
  await serving([says(400, { error })], async (url) => {
    await assert.rejects(transportTo(url).json(SUBMIT), (problem: InvalidParameterError) => {
      assert.ok(problem instanceof InvalidParameterError);
      const { status, code, param, message, details, requestId } = problem;
      assert.deepEqual(
        [status, code, param, message, details, requestId],
        [400, "invalid_parameter", "width", "No.", { allowed: "8" }, "r"],
      );
      return true;
    });
  });
});

test("a stranger's refusals become their status's class", async () => {
  const expected = { 413: BodyTooLargeError, 404: NotFoundError, 502: ServerError };
  for (const [status, kind] of Object.entries(expected)) {
    const page: typeof OK = (_request, response) => response.writeHead(Number(status)).end("<html>no</html>");
    await serving([page], async (url) => {
      await assert.rejects(transportTo(url).json(READ), (problem: ImagineoError) => {
        assert.equal(problem.constructor, kind);
        assert.match(problem.message, new RegExp(`answered with status ${status}`));
        return true;
      });
    });
  }
});

test("a stranger's page instead of an answer is told", async () => {
  await serving([(_request, response) => response.end("<html>")], async (url) => {
    await assert.rejects(transportTo(url).json(READ), UnexpectedAnswerError);
  });
});

test("a redirect is not followed: the key would go elsewhere", async () => {
  await serving([OK], async (other, seen) => {
    const away: typeof OK = (_request, response) => response.writeHead(307, { Location: other }).end();
    await serving([away], async (url) => {
      await assert.rejects(transportTo(url).json(SUBMIT), (problem: ImagineoError) => {
        assert.ok(problem instanceof UnexpectedAnswerError);
        assert.ok(problem.message.includes(other));
        return true;
      });
    });
    assert.equal(seen.length, 0);
  });
});

test("a whole URL gets no key", async () => {
  await serving([OK], async (url, seen) => {
    await transportTo("http://127.0.0.1:1").bytes({ ...READ, path: `${url}/images/gen_1.png?signature=x` });
    assert.equal(seen[0]?.headers["x-api-key"], undefined);
    assert.equal(seen[0]?.url, "/images/gen_1.png?signature=x");
  });
});

test("the query leaves out what is undefined and repeats lists", async () => {
  await serving([OK], async (url, seen) => {
    await transportTo(url).get("/v1/generations", { limit: 3, cursor: undefined, status: ["queued", "running"] });
    assert.equal(seen[0]?.url, "/v1/generations?limit=3&status=queued&status=running");
  });
});

test("a connection that broke because too much was sent is a BodyTooLargeError", async () => {
  const limits = says(200, { batch_body_limit_bytes: 100_000 });
  for (const [bytes, kind] of [
    [100_001, BodyTooLargeError],
    [100_000, ConnectionFailedError],
    [60_000, ConnectionFailedError],
  ] as const) {
    const answer: typeof OK = (request, ...rest) => (request.method === "GET" ? limits : hangsUp)(request, ...rest);
    await serving([answer], async (url) => {
      const client = new Imagineo({ apiKey: "imag_test", baseUrl: url, maxRetries: 0 });
      const problem = await client.batches.create({ file: new Uint8Array(bytes) }).catch((found: unknown) => found);
      assert.equal((problem as Error).constructor, kind);
    });
  }
});
