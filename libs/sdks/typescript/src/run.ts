/** One run as the caller holds it: follow it, wait for it, cancel it, take its picture. */

import { Deadline, pause } from "./deadline.ts";
import { RunCanceledError, RunExpiredError, RunFailedError, WaitTimeoutError } from "./errors.ts";
import { type FollowOptions, isTerminal, type RunEvent } from "./event_stream.ts";
import { writeWhole } from "./files.ts";
import type { Generations } from "./generations.ts";
import { TooManyStreamsError } from "./refusals.ts";
import { positive } from "./settings.ts";
import type { Submitter, UpscaleOptions, VariationsOptions } from "./submitter.ts";
import type { CallOptions } from "./transport.ts";
import type { Generation, Submitted } from "./types.ts";

/** How to wait. */
export interface WaitOptions {
  /** Ends the wait and leaves what is waited for alone; the signal's reason is thrown. */
  readonly signal?: AbortSignal;
  /** Seconds until the wait is over; without it there is no bound. */
  readonly timeoutS?: number;
  /** Whether what took too long is canceled. True. */
  readonly cancelOnTimeout?: boolean;
}

/** How to wait for a run. */
export interface RunWaitOptions extends WaitOptions {
  /** Called with every change on the way. */
  readonly onProgress?: (generation: Generation) => void;
}

/** Milliseconds between two looks at a run whose stream is not to be had. */
const LOOK_EVERY_MS = 2_000;

/** A run that was accepted. It goes on whether or not anybody holds this. */
export class Run {
  /** `gen_…` */
  readonly id: string;
  readonly #generations: Generations;
  readonly #submitter: () => Submitter;
  readonly #submitted: Submitted | undefined;
  #generation: Generation | undefined;

  constructor(id: string, generations: Generations, submitter: () => Submitter, submitted?: Submitted) {
    this.id = id;
    this.#generations = generations;
    this.#submitter = submitter;
    this.#submitted = submitted;
  }

  /** The seed, where it is known: after a submit, or once the run has been read. */
  get seed(): number | undefined {
    return this.#submitted?.seed ?? this.#generation?.seed;
  }

  /** Seconds that the platform thought it would take, when it was submitted. */
  get estimatedTime(): number | undefined {
    return this.#submitted?.estimated_time;
  }

  /** The newest state that was seen, if any was. No call is made. */
  get generation(): Generation | undefined {
    return this.#generation;
  }

  /** The run as it is now. */
  async refresh(options?: CallOptions): Promise<Generation> {
    this.#generation = await this.#generations.get(this.id, options);
    return this.#generation;
  }

  /** Its changes until it is over, over as many connections as it takes. */
  async *events(options: FollowOptions = {}): AsyncGenerator<RunEvent, void, undefined> {
    for await (const event of this.#generations.events(this.id, options)) {
      if (event.type !== "preview") this.#generation = event.generation;
      yield event;
    }
  }

  /** Wait until it is over; gives the completed run.
   *
   * @throws RunFailedError, RunCanceledError, RunExpiredError if it ends without a picture.
   * @throws WaitTimeoutError after `timeoutS`; the run is canceled then, unless told otherwise.
   */
  async wait(options: RunWaitOptions = {}): Promise<Generation> {
    const limitS = positive("timeoutS", options.timeoutS ?? Number.POSITIVE_INFINITY);
    const tooLate = new WaitTimeoutError("", this.id, false);
    const limit = new Deadline(limitS * 1000, () => tooLate, options.signal);
    try {
      return completed(await this.#over(limit.signal, options.onProgress));
    } catch (problem) {
      if (problem !== tooLate) throw problem;
      return completed(await this.#givenUp(limitS, options.cancelOnTimeout ?? true));
    } finally {
      limit.release();
    }
  }

  /** Stop it: at once while it is queued, at the next step while it is drawn. One that is over stays as it is. */
  async cancel(options?: CallOptions): Promise<Generation> {
    this.#generation = await this.#generations.cancel(this.id, options);
    return this.#generation;
  }

  /** The picture's file; waits for it. */
  async image(options: RunWaitOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const generation = await this.wait(options);
    return await this.#generations.imageOf(generation, options.signal ? { signal: options.signal } : {});
  }

  /** Write the picture to a file, whole or not at all; waits for it. Node, Deno and Bun.
   *
   * @returns the path.
   * @throws OutputError if the file cannot be written; a place that cannot be written to is found before the wait.
   */
  async save(path: string, options: RunWaitOptions = {}): Promise<string> {
    await writeWhole(path, async () => [await this.image(options)]);
    return path;
  }

  /** Draw its picture larger, as a new run. */
  upscale(options: UpscaleOptions = {}): Promise<Run> {
    return this.#submitter().upscale(this.id, options);
  }

  /** Draw variations of its picture, each a new run. */
  variations(options: VariationsOptions = {}): Promise<Run[]> {
    return this.#submitter().variations(this.id, options);
  }

  /** Erase it: row, picture and queued job. */
  delete(options?: CallOptions): Promise<void> {
    return this.#generations.delete(this.id, options);
  }

  async #over(signal: AbortSignal, onProgress?: (generation: Generation) => void): Promise<Generation> {
    if (this.#generation !== undefined && isTerminal(this.#generation)) return this.#generation;
    try {
      for await (const event of this.events({ signal, failsWhenFull: true })) {
        if (event.type !== "preview") onProgress?.(event.generation);
      }
    } catch (problem) {
      // Polling is the truth, streams are a convenience: a run is not lost because its stream is not to be had.
      if (!(problem instanceof TooManyStreamsError)) throw problem;
    }
    let latest = this.#generation ?? (await this.refresh({ signal }));
    while (!isTerminal(latest)) {
      await pause(LOOK_EVERY_MS, signal);
      latest = await this.refresh({ signal });
      onProgress?.(latest);
    }
    return latest;
  }

  async #givenUp(limitS: number, cancels: boolean): Promise<Generation> {
    const long = `${this.id} took longer than ${limitS} s`;
    if (!cancels) throw new WaitTimeoutError(`${long}; it goes on.`, this.id, false);
    const left = await this.cancel();
    if (left.status === "completed") return left; // it was faster than the cancel
    throw new WaitTimeoutError(`${long} and was canceled.`, this.id, true);
  }
}

function completed(generation: Generation): Generation {
  const { run_id: id, status, error } = generation;
  if (status === "failed") throw new RunFailedError(error?.message ?? `${id} failed.`, generation);
  if (status === "canceled") throw new RunCanceledError(`${id} was canceled.`, generation);
  if (status === "expired") throw new RunExpiredError(`${id} had not started by its deadline.`, generation);
  return generation;
}
