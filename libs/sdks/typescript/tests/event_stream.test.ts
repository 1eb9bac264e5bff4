import assert from "node:assert/strict";
import { test } from "node:test";
import { backAfterMs, type FollowOptions, follow } from "../src/event_stream.ts";
import { ConnectionFailedError, NotFoundError, type RunEvent, TooManyStreamsError } from "../src/index.ts";
import { type Answer, collected, refuses, type Seen, serving, settingsFor, transportTo } from "./server.ts";

function event(version: number, status: string, type = "progress"): string {
  return `id: gen_1:${version}\nevent: ${type}\ndata: ${JSON.stringify({ run_id: "gen_1", status })}\n\n`;
}

/** Sends the text, then closes the connection in order or cuts it. */
function streams(text: string, isCut = true): Answer {
  return (request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`retry: 1\n\n${text}`, () => (isCut ? request.socket.destroy() : response.end()));
  };
}

async function followed(answers: Answer[], options: FollowOptions = {}): Promise<[RunEvent[], Seen[]]> {
  const events: RunEvent[] = [];
  let all: Seen[] = [];
  await serving(answers, async (url, seen) => {
    all = seen;
    for await (const one of follow(transportTo(url), "gen_1", settingsFor(url).retry, options)) events.push(one);
  });
  return [events, all];
}

const PREVIEW =
  'event: preview\ndata: {"run_id": "gen_1", "step": 1, "steps": 4, "image": "data:image/webp;base64,"}\n\n';

test("a stream that is cut goes on after the last event that came whole, on a new connection", async () => {
  const [events, seen] = await followed([
    streams(
      event(1, "queued", "snapshot") + event(2, "running", "status") + PREVIEW + event(3, "running").slice(0, 30),
    ),
    streams("", false),
    streams(event(3, "running") + event(4, "completed", "status")),
  ]);
  assert.deepEqual(
    events.map(({ type, id }) => [type, id]),
    [
      ["snapshot", "gen_1:1"],
      ["status", "gen_1:2"],
      ["preview", null],
      ["progress", "gen_1:3"],
      ["status", "gen_1:4"],
    ],
  );
  assert.deepEqual(
    seen.map(({ headers }) => headers["last-event-id"]),
    [undefined, "gen_1:2", "gen_1:2"],
  );
});

test("the terminal event ends it, whatever the server says after", async () => {
  const [events, seen] = await followed([streams(event(5, "failed") + event(6, "running"), false)]);
  assert.deepEqual([events.length, seen.length], [1, 1]);
});

test("204 ends it: the terminal event came before", async () => {
  const [events, seen] = await followed([(_request, response) => response.writeHead(204).end()], {
    lastEventId: "gen_1:9",
  });
  assert.deepEqual([events, seen.length, seen[0]?.headers["last-event-id"]], [[], 1, "gen_1:9"]);
});

test("events of a kind that this version does not know are passed over", async () => {
  const [events] = await followed([streams(`event: weather\ndata: sunny\n\n${event(1, "canceled")}`)]);
  assert.equal(events.length, 1);
});

test("a stream that stays cut is an error in the end; an event between begins the count anew", async () => {
  const progress = [1, 2, 3, 4].map((version) => streams(event(version, "running")));
  await serving([...progress, streams("")], async (url, seen) => {
    const events = follow(transportTo(url), "gen_1", settingsFor(url).retry);
    await assert.rejects(collected(events), (problem: Error) => {
      assert.ok(problem instanceof ConnectionFailedError);
      assert.match(problem.message, /^The events of gen_1 were cut off 3 times in a row\.$/);
      return true;
    });
    assert.equal(seen.length, 4 + 2);
  });
});

test("a refusal is no cut", async () => {
  await serving([refuses(404, "not_found")], async (url, seen) => {
    await assert.rejects(collected(follow(transportTo(url), "gen_1", settingsFor(url).retry)), NotFoundError);
    assert.equal(seen.length, 1);
  });
});

test("too many streams are waited for, or an error at once where that is asked", async () => {
  const full = refuses(429, "too_many_streams", { "Retry-After": "0" });
  const [events] = await followed([full, streams(event(1, "completed"))]);
  assert.equal(events.length, 1);
  await assert.rejects(followed([full, streams(event(1, "completed"))], { failsWhenFull: true }), TooManyStreamsError);
});

test("the caller's signal ends it with its reason, and so the connection", async () => {
  let closed: Promise<unknown> = Promise.resolve();
  const open: Answer = (request, response) => {
    closed = new Promise((resolve) => request.socket.once("close", resolve));
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(event(1, "queued"));
  };
  const reason = new Error("enough");
  const controller = new AbortController();
  await serving([open], async (url) => {
    const { signal } = controller;
    const events = follow(transportTo(url), "gen_1", settingsFor(url).retry, { signal });
    await events.next();
    setTimeout(() => controller.abort(reason));
    await assert.rejects(events.next(), reason);
    await closed;
  });
});

test("whoever stops reading closes the connection", async () => {
  let closed: Promise<unknown> = Promise.resolve();
  const open: Answer = (request, response) => {
    closed = new Promise((resolve) => request.socket.once("close", resolve));
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(event(1, "queued"));
  };
  await serving([open], async (url) => {
    for await (const _ of follow(transportTo(url), "gen_1", settingsFor(url).retry)) break;
    await closed;
  });
});

test("the time until a stream is asked for again doubles up to ten seconds, and chance takes up to half", () => {
  assert.deepEqual(
    [1, 2, 3, 4].map((cuts) => backAfterMs(2_000, cuts, 1)),
    [2_000, 4_000, 8_000, 10_000],
  );
  assert.equal(backAfterMs(2_000, 1, 0), 1_000);
});
