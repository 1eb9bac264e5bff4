/** What `fetch` and servers say when something fails, as errors; and what the retry policy is told of it. */

import { ApiError, ConnectionFailedError, type Refusal, UnexpectedAnswerError } from "./errors.ts";
import { refused } from "./refusals.ts";
import { type Failure, retryAfterMs } from "./retry.ts";

/** What the retry policy needs to know; undefined: trying again cannot help. */
export function failureOf(problem: unknown): Failure | undefined {
  if (problem instanceof ConnectionFailedError) return { isUnsent: problem.isUnsent };
  if (!(problem instanceof ApiError)) return undefined;
  const { status, code, retryAfterS } = problem;
  return { status, code, ...(retryAfterS !== undefined && { retryAfterMs: retryAfterS * 1000 }) };
}

/** The error of a `fetch`, or of a body, that broke: it tells the reason in `cause` or `code`, if at all. */
export function broken(address: string, problem: unknown): ConnectionFailedError {
  const told = problem as { code?: string; message?: string; cause?: { code?: string; message?: string } };
  const code = told.cause?.code ?? told.code ?? "";
  const why = REASONS[code] ?? told.cause?.message ?? told.message ?? String(problem);
  const message = `${new URL(address).origin} cannot be reached, or the connection broke: ${why}.`;
  return new ConnectionFailedError(message, { cause: problem, isUnsent: UNSENT.has(code) });
}

/** The error of an answer that is no success. Reads its body. */
export async function refusalOf(answer: Response, address: string): Promise<Error> {
  if (answer.type === "opaqueredirect" || (answer.status >= 300 && answer.status < 400)) {
    const target = answer.headers.get("location") ?? "another address";
    return new UnexpectedAnswerError(
      `${new URL(address).origin} sends its callers to ${target}; is the baseUrl right?`,
    );
  }
  const error = errorIn(await answer.text());
  const { code, message, param, details } = error;
  const waitMs = retryAfterMs(answer.headers.get("retry-after"), Date.now());
  const requestId = error["request_id"] ?? answer.headers.get("x-request-id");
  return refused({
    status: answer.status,
    code: typeof code === "string" ? code : "",
    message:
      typeof message === "string" ? message : `${new URL(address).origin} answered with status ${answer.status}.`,
    ...(typeof param === "string" && { param }),
    ...(isRecord(details) && { details: details as NonNullable<Refusal["details"]> }),
    ...(typeof requestId === "string" && { requestId }),
    ...(waitMs !== undefined && { retryAfterS: waitMs / 1000 }),
  });
}

/** The documented error object; empty where the body holds none, as a proxy's page. */
function errorIn(body: string): Record<string, unknown> {
  try {
    const content: unknown = JSON.parse(body);
    return isRecord(content) && isRecord(content["error"]) ? content["error"] : {};
  } catch {
    return {};
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a person may not know of the codes of Node, Deno and Bun. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (ECONNREFUSED)",
  ConnectionRefused: "nothing listens there (ConnectionRefused)",
  ENOTFOUND: "there is no such host (ENOTFOUND)",
  ECONNRESET: "it was reset (ECONNRESET)",
  UND_ERR_SOCKET: "the other side closed it (UND_ERR_SOCKET)",
};

/** The codes that say that no connection was made. */
const UNSENT: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ConnectionRefused",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);
