import assert from "node:assert/strict";
import { test } from "node:test";
import { type ServerSentEvent, ServerSentEventParser } from "../src/sse.ts";

const STREAM =
  "\uFEFFretry: 2000\n\n" +
  ": still here\n\n" +
  'id: gen_a:1\nevent: snapshot\ndata: {"status": "queued"}\n\n' +
  "event: preview\r\ndata: a\r\ndata:b\r\n\r\n" +
  "id: gen_a:2\revent: status\rdata: é🍎\r\r" +
  "id\nunknown: field\ndata\n\n" +
  "data: never dispatched";

const EVENTS = [
  { type: "snapshot", data: '{"status": "queued"}', lastEventId: "gen_a:1" },
  { type: "preview", data: "a\nb", lastEventId: "gen_a:1" },
  { type: "status", data: "é🍎", lastEventId: "gen_a:2" },
  { type: "message", data: "", lastEventId: "" },
];

function read(pieces: string[]): [ServerSentEvent[], number | undefined] {
  const parser = new ServerSentEventParser();
  const events = pieces.flatMap((piece) => parser.push(piece));
  return [events, parser.retryMs];
}

test("a stream in one piece gives its events", () => {
  assert.deepEqual(read([STREAM]), [EVENTS, 2000]);
});

test("a stream cut at any place, or at any two, gives the same events", () => {
  for (let first = 0; first <= STREAM.length; first++) {
    for (let second = first; second <= STREAM.length; second++) {
      const pieces = [STREAM.slice(0, first), STREAM.slice(first, second), STREAM.slice(second)];
      assert.deepEqual(read(pieces), [EVENTS, 2000], `cut at ${first} and ${second}`);
    }
  }
});

test("a stream that comes letter by letter gives the same events", () => {
  assert.deepEqual(read(STREAM.split("")), [EVENTS, 2000]);
});

test("an id with a null in it, and a retry that is no number, are ignored", () => {
  assert.deepEqual(read(["id: a\0b\nretry: 1s\ndata: x\n\n"]), [
    [{ type: "message", data: "x", lastEventId: "" }],
    undefined,
  ]);
});

test("a later connection begins with the id of the one before", () => {
  assert.equal(new ServerSentEventParser("gen_a:7").push("data: x\n\n")[0]?.lastEventId, "gen_a:7");
});
