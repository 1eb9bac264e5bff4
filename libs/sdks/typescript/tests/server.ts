/** A real HTTP server on this machine that a test scripts, request by request. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Settings } from "../src/settings.ts";
import { Transport } from "../src/transport.ts";

/** Answers one request; `body` is what came. */
export type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** What came, in order. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Answer each request with the next of the answers, the last one for ever, while `use` runs. */
export async function serving(answers: Answer[], use: (url: string, seen: Seen[]) => Promise<void>): Promise<void> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    const answer = answers[Math.min(seen.length, answers.length - 1)];
    const { method = "", url = "", headers } = request;
    const place = seen.push({ method, url, headers, body: "" }) - 1;
    const pieces: Uint8Array[] = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces).toString();
    seen[place] = { method, url, headers, body };
    answer?.(request, response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Settings whose retries do not keep a test waiting. */
export function settingsFor(baseUrl: string, more: Partial<Settings> = {}): Settings {
  const retry = { maxRetries: 2, firstPauseMs: 1, maxPauseMs: 2, maxRetryAfterMs: 100 };
  return { apiKey: "imag_test", baseUrl, modelId: undefined, timeoutS: 10, retry, fetch, ...more };
}

/** A transport with such settings. */
export function transportTo(baseUrl: string, more: Partial<Settings> = {}): Transport {
  return new Transport(settingsFor(baseUrl, more));
}

/** An answer in JSON. */
export function says(status: number, content: unknown, headers: Record<string, string> = {}): Answer {
  return (_request, response) => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(JSON.stringify(content));
  };
}

/** A refusal as the platform writes them. */
export function refuses(status: number, code: string, headers: Record<string, string> = {}): Answer {
  return says(status, { error: { code, message: `It is ${code}.`, request_id: "req-1" } }, headers);
}

/** Hangs up without an answer. */
export const hangsUp: Answer = (request) => request.socket.destroy();

/** Says nothing. */
export const keepsSilent: Answer = () => undefined;

/** All that comes. */
export async function collected<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}
