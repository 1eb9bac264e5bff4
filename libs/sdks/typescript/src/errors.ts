/**
 * What can go wrong, as one tree; `refusals` holds the branch with a class for each code of the server.
 *
 *     ImagineoError
 *     ├── ConnectionFailedError     nobody answers, the connection breaks, a stream stays cut
 *     │   └── RequestTimeoutError   no answer in time
 *     ├── ApiError                  the server refused; a class for each code
 *     ├── RunEndedError             a run is over, and there is no picture
 *     │   ├── RunFailedError
 *     │   ├── RunCanceledError
 *     │   └── RunExpiredError
 *     ├── WaitTimeoutError          a run or batch took longer than the caller would wait
 *     ├── UnexpectedAnswerError     an answer that is not the API's, such as a proxy's page
 *     ├── WebhookVerificationError  a delivery that nobody who knows the secret signed, or an old one
 *     ├── ConfigurationError        an option, key or address that cannot work
 *     └── OutputError               a file could not be written where it was asked to be
 *
 * A caller's own `AbortSignal` is no error of this tree: its `reason` is thrown as it is, as `fetch` does.
 */

import type { ErrorCode, Generation } from "./types.ts";

/** Everything that this package throws by itself. */
export class ImagineoError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** Nobody answers, the connection breaks, or a stream stays cut. */
export class ConnectionFailedError extends ImagineoError {
  /** Whether it is certain that nothing reached the server. */
  readonly isUnsent: boolean;

  constructor(message: string, { isUnsent = false, cause }: { isUnsent?: boolean; cause?: unknown } = {}) {
    super(message, { cause });
    this.isUnsent = isUnsent;
  }
}

/** No answer came within the call's time. */
export class RequestTimeoutError extends ConnectionFailedError {}

/** An answer that is not the API's, such as a proxy's page. */
export class UnexpectedAnswerError extends ImagineoError {}

/** What an {@link ApiError} is made of. */
export interface Refusal {
  /** The HTTP status; 0 where the client refused before it asked. */
  readonly status: number;
  /** A documented code, one of a later server's, or empty: whoever answered gave none. */
  readonly code: ErrorCode | (string & {});
  readonly message: string;
  /** The field or header that is wrong. */
  readonly param?: string;
  readonly details?: Readonly<Record<string, string>>;
  /** Finds the server's log line. */
  readonly requestId?: string;
  /** Seconds to wait before the same request. */
  readonly retryAfterS?: number;
}

/** The server refused. */
export class ApiError extends ImagineoError {
  readonly status: number;
  readonly code: Refusal["code"];
  readonly param: string | undefined;
  readonly details: Readonly<Record<string, string>>;
  readonly requestId: string | undefined;
  readonly retryAfterS: number | undefined;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.status = refusal.status;
    this.code = refusal.code;
    this.param = refusal.param;
    this.details = refusal.details ?? {};
    this.requestId = refusal.requestId;
    this.retryAfterS = refusal.retryAfterS;
  }
}

/** A run is over, and there is no picture. */
export class RunEndedError extends ImagineoError {
  /** The run as it ended. */
  readonly generation: Generation;

  constructor(message: string, generation: Generation) {
    super(message);
    this.generation = generation;
  }
}

/** The run failed; the message is the server's. */
export class RunFailedError extends RunEndedError {}

/** Somebody canceled the run. */
export class RunCanceledError extends RunEndedError {}

/** The run had not started by its deadline. */
export class RunExpiredError extends RunEndedError {}

/** A run or batch took longer than the caller would wait. */
export class WaitTimeoutError extends ImagineoError {
  /** The run's or batch's id. */
  readonly id: string;
  /** Whether it was canceled for that. */
  readonly isCanceled: boolean;

  constructor(message: string, id: string, isCanceled: boolean) {
    super(message);
    this.id = id;
    this.isCanceled = isCanceled;
  }
}

/** A delivery that nobody who knows the secret signed, or one that is too old or too new. */
export class WebhookVerificationError extends ImagineoError {}

/** An option, key or address that cannot work; the message names it. */
export class ConfigurationError extends ImagineoError {}

/** A file could not be written where it was asked to be; the message says why. */
export class OutputError extends ImagineoError {}
