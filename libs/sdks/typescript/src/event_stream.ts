/** A run's events over as many connections as it takes: where one is cut, the next goes on after the last event's id. */

import { Deadline, pause } from "./deadline.ts";
import { ConnectionFailedError, RequestTimeoutError } from "./errors.ts";
import { texts } from "./lines.ts";
import { TooManyStreamsError } from "./refusals.ts";
import type { RetryPolicy } from "./retry.ts";
import { type ServerSentEvent, ServerSentEventParser } from "./sse.ts";
import { type CallOptions, parsed, type Transport } from "./transport.ts";
import type { Generation, Preview } from "./types.ts";

/** How to follow a run. */
export interface FollowOptions extends CallOptions {
  /** Whether small pictures of the unfinished image come too, where the platform makes them. */
  readonly previews?: boolean;
  /** Only what is newer than this event. */
  readonly lastEventId?: string;
  /** Whether too many open streams are an error at once. False: a place is waited for, as after any 429. */
  readonly failsWhenFull?: boolean;
}

/** A change of a run: as it stands (`snapshot`, the first), a new status, or more progress. */
export interface ChangeEvent {
  readonly type: "snapshot" | "status" | "progress";
  /** For `lastEventId`. */
  readonly id: string;
  readonly generation: Generation;
  readonly preview: null;
}

/** A small picture of what the run is about to become. Some may be lost. */
export interface PreviewEvent {
  readonly type: "preview";
  readonly id: null;
  readonly generation: null;
  readonly preview: Preview;
}

export type RunEvent = ChangeEvent | PreviewEvent;

/** The server sends a comment every 15 s: a connection that is silent for so long is dead. */
const SILENCE_MS = 45_000;
const DEFAULT_RETRY_MS = 2_000;
const MAX_BACK_MS = 10_000;

/** Whether a run is over. */
export function isTerminal({ status }: Generation): boolean {
  return ["completed", "failed", "canceled", "expired"].includes(status);
}

/** Follow a run to its end. Every change comes once, in order; those that came faster than they were read are skipped.
 *
 * @throws ConnectionFailedError if the stream is cut again and again without an event between.
 * @throws ApiError what the server refuses with.
 */
export async function* follow(
  transport: Transport,
  runId: string,
  policy: RetryPolicy,
  options: FollowOptions = {},
): AsyncGenerator<RunEvent, void, undefined> {
  const place = { id: options.lastEventId ?? "", retryMs: DEFAULT_RETRY_MS };
  for (let cuts = 0; cuts <= policy.maxRetries; cuts++) {
    if (cuts > 0) await pause(backAfterMs(place.retryMs, cuts, Math.random()), options.signal);
    for await (const event of untilCut(connection(transport, runId, place, options), options.signal)) {
      if (event === "over") return;
      cuts = 0;
      yield event;
      if (event.type !== "preview" && isTerminal(event.generation)) return;
    }
  }
  throw new ConnectionFailedError(`The events of ${runId} were cut off ${policy.maxRetries + 1} times in a row.`);
}

/** Milliseconds until a stream that was cut is asked for again: all clients of a server that went away differ.
 *
 * @param cuts - how many connections in a row brought nothing, from 1.
 * @param random - a number from 0 to below 1.
 */
export function backAfterMs(retryMs: number, cuts: number, random: number): number {
  return Math.min(MAX_BACK_MS, retryMs * 2 ** (cuts - 1)) * (0.5 + random / 2);
}

/** An open stream broke; what was wrong before it was open is no such thing. */
class Cut extends Error {}

/** The same events; a cut ends them. */
async function* untilCut<Event>(
  events: AsyncGenerator<Event, void, undefined>,
  signal?: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  try {
    yield* events;
  } catch (problem) {
    signal?.throwIfAborted();
    if (!(problem instanceof Cut)) throw problem;
  }
}

/** How far the connections have come. */
interface Place {
  id: string;
  retryMs: number;
}

async function* connection(
  transport: Transport,
  runId: string,
  place: Place,
  options: FollowOptions,
): AsyncGenerator<RunEvent | "over", void, undefined> {
  const silent = (): Error => new RequestTimeoutError(`The events of ${runId} fell silent.`);
  const life = new Deadline(Number.POSITIVE_INFINITY, silent, options.signal);
  try {
    const answer = await opened(transport, runId, place, { ...options, signal: life.signal });
    if (answer.status === 204 || answer.body === null) {
      yield "over";
      return;
    }
    const parser = new ServerSentEventParser(place.id);
    for await (const text of unbroken(answer.body, life)) {
      for (const event of parser.push(text)) {
        place.id = event.lastEventId;
        const known = eventOf(event);
        if (known !== undefined) yield known;
      }
      place.retryMs = parser.retryMs ?? place.retryMs;
    }
  } finally {
    life.release();
  }
}

function opened(transport: Transport, runId: string, place: Place, options: FollowOptions): Promise<Response> {
  return transport.send(
    {
      method: "GET",
      path: `/v1/generations/${encodeURIComponent(runId)}/events`,
      query: { previews: options.previews ? "true" : undefined },
      headers: { Accept: "text/event-stream", ...(place.id !== "" && { "Last-Event-ID": place.id }) },
      repeatable: "always",
      isFinal: (problem) => options.failsWhenFull === true && problem instanceof TooManyStreamsError,
      options,
      isStream: true,
    },
    (answer) => Promise.resolve(answer),
  );
}

async function* unbroken(body: ReadableStream<Uint8Array>, life: Deadline): AsyncGenerator<string, void, undefined> {
  const pieces = texts(body);
  try {
    for (;;) {
      life.restartClock(SILENCE_MS);
      const piece = await pieces.next().catch((problem: unknown) => Promise.reject(new Cut("", { cause: problem })));
      life.stopClock(); // the reader's own time does not count
      if (piece.done) return;
      yield piece.value;
    }
  } finally {
    await pieces.return();
  }
}

/** Where an event comes from, in messages. */
const PLACE = "The event stream";

function eventOf({ type, data, lastEventId }: ServerSentEvent): RunEvent | undefined {
  if (type === "preview") return { type, id: null, generation: null, preview: parsed<Preview>(data, PLACE) };
  // What a later server may add is not for this version.
  if (type !== "snapshot" && type !== "status" && type !== "progress") return undefined;
  return { type, id: lastEventId, generation: parsed<Generation>(data, PLACE), preview: null };
}
