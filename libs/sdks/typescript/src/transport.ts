/** One call over `fetch`: address, headers, time limit, retries, and errors of our own. What is asked stands elsewhere. */

import { Deadline, pause } from "./deadline.ts";
import { ImagineoError, RequestTimeoutError, UnexpectedAnswerError } from "./errors.ts";
import { broken, failureOf, refusalOf } from "./failures.ts";
import { NotFoundError } from "./refusals.ts";
import { pauseBefore, type Repeatable } from "./retry.ts";
import { positive, type Settings } from "./settings.ts";

/** What every method takes beside its own arguments. */
export interface CallOptions {
  /** Ends the call; the signal's reason is thrown. */
  readonly signal?: AbortSignal;
  /** Seconds for one attempt, in place of the client's. */
  readonly timeoutS?: number;
}

/** The query; what is undefined is left out, a list is one value for each. */
export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** An id as a part of a path. */
export function part(id: string): string {
  return encodeURIComponent(id);
}

/** What is sent: made anew for each attempt, since a stream can be read only once. */
export interface Content {
  readonly body: BodyInit;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One call. */
export interface Call {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** `/v1/…`, or a whole URL, which then gets no key. */
  readonly path: string;
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly content?: () => Content;
  readonly repeatable: Repeatable;
  /** Which failures are for the caller at once, whatever the policy says. */
  readonly isFinal?: (problem: unknown) => boolean;
  readonly options?: CallOptions | undefined;
  /** Whether the answer's body is read after the call is over: its time limit then ends with the headers. */
  readonly isStream?: boolean;
}

/** Sends calls for one client. */
export class Transport {
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Send, again where that is right, and read the answer.
   *
   * @throws ApiError if the server refuses; its class says why.
   * @throws ConnectionFailedError if no answer comes.
   */
  async send<Answer>(call: Call, read: (answer: Response) => Promise<Answer>): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(call, read);
      } catch (problem) {
        call.options?.signal?.throwIfAborted();
        // What is gone at a second attempt was erased by the first, whose answer was lost.
        const isGone = call.method === "DELETE" && attempt > 1 && problem instanceof NotFoundError;
        if (isGone) return await read(new Response());
        const ms = this.#pauseMs(call, problem, attempt);
        if (ms === undefined) throw problem;
        await pause(ms, call.options?.signal);
      }
    }
  }

  /** Send, and read a JSON answer.
   *
   * @throws UnexpectedAnswerError if it is something else.
   */
  json<Answer>(call: Call): Promise<Answer> {
    return this.send(call, async (answer) => parsed<Answer>(await answer.text(), this.#address(call)));
  }

  /** Read one thing, or a page of a list. */
  get<Answer>(path: string, query: Query = {}, options?: CallOptions): Promise<Answer> {
    return this.json({ method: "GET", path, query, repeatable: "always", options });
  }

  /** Send, and read the answer's bytes. */
  bytes(call: Call): Promise<Uint8Array<ArrayBuffer>> {
    return this.send(call, async (answer) => new Uint8Array(await answer.arrayBuffer()));
  }

  /** Erase. */
  async delete(path: string, options?: CallOptions): Promise<void> {
    await this.bytes({ method: "DELETE", path, repeatable: "always", options });
  }

  #pauseMs(call: Call, problem: unknown, attempt: number): number | undefined {
    const failure = call.isFinal?.(problem) ? undefined : failureOf(problem);
    return failure && pauseBefore(failure, call.repeatable, attempt, this.#settings.retry, Math.random());
  }

  async #attempt<Answer>(call: Call, read: (answer: Response) => Promise<Answer>): Promise<Answer> {
    const limitS = positive("timeoutS", call.options?.timeoutS ?? this.#settings.timeoutS);
    const deadline = new Deadline(limitS * 1000, () => late(call, limitS), call.options?.signal);
    const [address, request] = [this.#address(call), this.#request(call, deadline.signal)];
    try {
      const answer = await this.#settings.fetch(address, request);
      if (!answer.ok) throw await refusalOf(answer, address);
      return await read(answer);
    } catch (problem) {
      deadline.signal.throwIfAborted();
      throw problem instanceof ImagineoError ? problem : broken(address, problem);
    } finally {
      if (call.isStream) deadline.stopClock();
      else deadline.release();
    }
  }

  #request(call: Call, signal: AbortSignal): RequestInit {
    const content = call.content?.();
    const isOurs = call.path.startsWith("/");
    return {
      method: call.method,
      headers: {
        ...(isOurs && { "X-API-Key": this.#settings.apiKey }),
        ...OWN_NAME,
        ...content?.headers,
        ...call.headers,
      },
      ...(content !== undefined && { body: content.body }),
      ...(content?.body instanceof ReadableStream && { duplex: "half" }),
      // A redirect would carry the key elsewhere, and turn a submit into a read.
      redirect: isOurs ? "manual" : "follow",
      credentials: "omit",
      signal,
    };
  }

  #address(call: Call): string {
    const own = call.path.startsWith("/") ? this.#settings.baseUrl + call.path : call.path;
    const pairs = Object.entries(call.query ?? {}).flatMap(([name, value]) =>
      value === undefined ? [] : [value].flat().map((one) => [name, String(one)]),
    );
    return pairs.length === 0 ? own : `${own}?${new URLSearchParams(pairs)}`;
  }
}

/** A JSON body. */
export function json(value: unknown): () => Content {
  const body = JSON.stringify(value);
  return () => ({ body, headers: { "Content-Type": "application/json" } });
}

/** Browsers name themselves, and would ask the server's leave for a header more. */
const OWN_NAME = "document" in globalThis ? {} : { "User-Agent": "imagineo-client-typescript/0.1.0" };

/** What a JSON text holds.
 *
 * @param where - the address or path that it came from.
 * @throws UnexpectedAnswerError if it is something else.
 */
export function parsed<Answer>(text: string, where: string): Answer {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    const place = URL.canParse(where) ? new URL(where).origin : where;
    throw new UnexpectedAnswerError(`${place} answered with something that is not JSON; is it an Imagineo?`);
  }
}

function late(call: Call, limitS: number): Error {
  return new RequestTimeoutError(`No answer to ${call.method} ${call.path} within ${limitS} s.`);
}
