/** What a client is told when it is made, checked and filled in once. Owns the environment's names; reads it nowhere else. */

import { ConfigurationError } from "./errors.ts";
import { MissingApiKeyError } from "./refusals.ts";
import type { RetryPolicy } from "./retry.ts";

/** How to make a client. Everything may be left out where the environment says it. */
export interface ClientOptions {
  /** The API key; else `IMAGINEO_API_KEY`. */
  readonly apiKey?: string;
  /** Where the platform listens, such as `https://images.example.org`; else `IMAGINEO_URL`, else port 8000 of this machine. */
  readonly baseUrl?: string;
  /** The model that draws where a call names none; else `IMAGINEO_MODEL`, else the platform's first base model. */
  readonly modelId?: string;
  /** Seconds for one attempt of one call, its answer included. 30. */
  readonly timeoutS?: number;
  /** How often a call is tried again. 4. */
  readonly maxRetries?: number;
  /** Another `fetch`, such as one with a proxy. */
  readonly fetch?: typeof fetch;
}

/** The same, complete. */
export interface Settings {
  readonly apiKey: string;
  /** Without a slash or `/v1` at the end. */
  readonly baseUrl: string;
  readonly modelId: string | undefined;
  readonly timeoutS: number;
  readonly retry: RetryPolicy;
  readonly fetch: typeof fetch;
}

const DEFAULT_URL = "http://127.0.0.1:8000";
const DEFAULT_TIMEOUT_S = 30;
const DEFAULT_MAX_RETRIES = 4;

/** Fill in and check.
 *
 * @throws MissingApiKeyError where neither the options nor the environment have a key.
 * @throws ConfigurationError for a value that cannot work; it names the option.
 */
export function settingsOf(options: ClientOptions): Settings {
  return {
    apiKey: keyOf(options.apiKey ?? environment("IMAGINEO_API_KEY")),
    baseUrl: urlOf(options.baseUrl ?? environment("IMAGINEO_URL") ?? DEFAULT_URL),
    modelId: options.modelId ?? environment("IMAGINEO_MODEL"),
    timeoutS: positive("timeoutS", options.timeoutS ?? DEFAULT_TIMEOUT_S),
    retry: {
      maxRetries: count("maxRetries", options.maxRetries ?? DEFAULT_MAX_RETRIES),
      firstPauseMs: 500,
      maxPauseMs: 8_000,
      maxRetryAfterMs: 60_000,
    },
    // Browsers call their fetch on the window only.
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
  };
}

/** A time limit as it was given.
 *
 * @throws ConfigurationError unless it is above 0.
 */
export function positive(name: string, value: number): number {
  if (typeof value === "number" && value > 0) return value;
  throw new ConfigurationError(`${name} must be a number above 0; it is ${value}.`);
}

function count(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0) return value;
  throw new ConfigurationError(`${name} must be a whole number from 0; it is ${value}.`);
}

function keyOf(given: string | undefined): string {
  const key = given?.trim() ?? "";
  if (key === "") {
    const message = "No API key: pass apiKey, or set IMAGINEO_API_KEY.";
    throw new MissingApiKeyError({ status: 0, code: "missing_api_key", message });
  }
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new ConfigurationError(
      "apiKey must be visible ASCII characters without spaces; was more copied than the key?",
    );
  }
  return key;
}

function urlOf(given: string): string {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new ConfigurationError(`baseUrl must be an address such as ${DEFAULT_URL}; it is ${JSON.stringify(given)}.`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new ConfigurationError("baseUrl must have no user name or password in it; the key is apiKey.");
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "").replace(/\/v1$/, "");
}

/** Node, Deno and Bun have it; a browser does not, and Deno may refuse to tell. */
function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  try {
    return process?.env?.[name] || undefined;
  } catch {
    return undefined;
  }
}
