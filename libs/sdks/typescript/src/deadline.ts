/** Time limits and pauses that end with the caller's signal, and leave no timer or listener behind. */

/** A signal that fires at a time limit, or with the caller's own signal. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #reason: () => Error;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param timeoutMs - the limit in milliseconds; Infinity: none.
   * @param reason - makes what is thrown at the limit.
   * @param outer - the caller's signal; its reason is passed on.
   */
  constructor(timeoutMs: number, reason: () => Error, outer?: AbortSignal) {
    this.#outer = outer;
    this.#reason = reason;
    if (outer?.aborted) this.#pass();
    else outer?.addEventListener("abort", this.#pass, { once: true });
    this.restartClock(timeoutMs);
  }

  /** Fires at the limit or with the caller's signal, whichever comes first. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** A new limit counts from now. */
  restartClock(timeoutMs: number): void {
    this.stopClock();
    if (timeoutMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#controller.abort(this.#reason()), Math.min(timeoutMs, MAX_TIMER_MS));
  }

  /** The limit counts no more; the caller's signal still does. */
  stopClock(): void {
    clearTimeout(this.#timer);
  }

  /** Neither counts any more. */
  release(): void {
    this.stopClock();
    this.#outer?.removeEventListener("abort", this.#pass);
  }

  readonly #pass = (): void => this.#controller.abort(this.#outer?.reason);
}

/** Timers hold a signed 32-bit number of milliseconds, and fire at once over it. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Wait; throws the signal's reason as soon as it fires. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
