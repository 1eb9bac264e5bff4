/** One batch as the caller holds it: its results as they finish, its pictures together, its end. */

import type { Batches } from "./batches.ts";
import { Deadline, pause } from "./deadline.ts";
import { ConnectionFailedError, WaitTimeoutError } from "./errors.ts";
import { writeWhole } from "./files.ts";
import { pieces } from "./lines.ts";
import type { WaitOptions } from "./run.ts";
import { positive } from "./settings.ts";
import type { CallOptions } from "./transport.ts";
import type { Batch, BatchResult } from "./types.ts";

/** How to wait for a batch. */
export interface BatchWaitOptions extends WaitOptions {
  /** Called with the batch at every look. */
  readonly onProgress?: (batch: Batch) => void;
}

/** Looks count as requests. */
const MIN_LOOK_MS = 1_000;
const MAX_LOOK_MS = 10_000;

/** A batch that was accepted. It goes on whether or not anybody holds this. */
export class BatchRun {
  /** `batch_…` */
  readonly id: string;
  readonly #batches: Batches;

  constructor(id: string, batches: Batches) {
    this.id = id;
    this.#batches = batches;
  }

  /** The batch as it is now. */
  refresh(options?: CallOptions): Promise<Batch> {
    return this.#batches.get(this.id, options);
  }

  /** Each item's result as soon as it is over, those without a picture too.
   *
   * @throws WaitTimeoutError after `timeoutS`; what has not been drawn is canceled then, unless told otherwise.
   */
  results(options: BatchWaitOptions = {}): AsyncGenerator<BatchResult, void, undefined> {
    return this.#bounded(options, (signal) => this.#results(signal, options));
  }

  /** Wait until every item is over; gives the batch, whose `errors` name the items without a picture.
   *
   * @throws WaitTimeoutError after `timeoutS`; what has not been drawn is canceled then, unless told otherwise.
   */
  async wait(options: BatchWaitOptions = {}): Promise<Batch> {
    let latest: Batch | undefined;
    for await (const batch of this.#bounded(options, (signal) => this.#looks(signal, options))) latest = batch;
    return latest ?? (await this.refresh());
  }

  /** Stop what has not been drawn. */
  cancel(options?: CallOptions): Promise<Batch> {
    return this.#batches.cancel(this.id, options);
  }

  /** Write a ZIP archive of the pictures drawn so far and `results.jsonl` to a file. Node, Deno and Bun.
   *
   * @returns the path.
   * @throws OutputError if the file cannot be written.
   */
  async archive(path: string, options?: CallOptions): Promise<string> {
    await writeWhole(path, async () => whole(await this.archiveStream(options), options?.signal));
    return path;
  }

  /** The same archive as a stream, made while it is read. */
  archiveStream(options?: CallOptions): Promise<ReadableStream<Uint8Array>> {
    return this.#batches.archive(this.id, options);
  }

  /** All pictures on one sheet, as PNG. */
  contactSheet(options?: CallOptions): Promise<Uint8Array<ArrayBuffer>> {
    return this.#batches.contactSheet(this.id, options);
  }

  async *#results(signal: AbortSignal, options: BatchWaitOptions): AsyncGenerator<BatchResult, void, undefined> {
    const given = new Set<number>();
    for await (const batch of this.#looks(signal, options)) {
      if (overCount(batch) === given.size) continue;
      for await (const result of this.#batches.results(this.id, { signal })) {
        if (!isOver(result) || given.has(result.index)) continue;
        given.add(result.index);
        yield result;
      }
    }
  }

  /** The batch again and again until it is over: often while it is short, seldom while it is long. */
  async *#looks(signal: AbortSignal, { onProgress }: BatchWaitOptions): AsyncGenerator<Batch, void, undefined> {
    for (;;) {
      const batch = await this.refresh({ signal });
      onProgress?.(batch);
      yield batch;
      if (!["running", "canceling"].includes(batch.status)) return;
      const fittingMs = (batch.estimated_time * 1000) / 20;
      await pause(Math.min(Math.max(fittingMs, MIN_LOOK_MS), MAX_LOOK_MS), signal);
    }
  }

  async *#bounded<Item>(
    options: BatchWaitOptions,
    work: (signal: AbortSignal) => AsyncGenerator<Item, void, undefined>,
  ): AsyncGenerator<Item, void, undefined> {
    const limitS = positive("timeoutS", options.timeoutS ?? Number.POSITIVE_INFINITY);
    const tooLate = new WaitTimeoutError("", this.id, false);
    const limit = new Deadline(limitS * 1000, () => tooLate, options.signal);
    try {
      yield* work(limit.signal);
    } catch (problem) {
      throw problem === tooLate ? await this.#givenUp(limitS, options.cancelOnTimeout ?? true) : problem;
    } finally {
      limit.release();
    }
  }

  async #givenUp(limitS: number, cancels: boolean): Promise<WaitTimeoutError> {
    const long = `${this.id} took longer than ${limitS} s`;
    if (!cancels) return new WaitTimeoutError(`${long}; it goes on.`, this.id, false);
    await this.cancel();
    return new WaitTimeoutError(`${long}; what was not drawn is canceled.`, this.id, true);
  }
}

/** The pieces of an archive; a cut is told as what it is. */
async function* whole(
  archive: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* pieces(archive);
  } catch (problem) {
    signal?.throwIfAborted();
    const why = problem instanceof Error ? problem.message : String(problem);
    throw new ConnectionFailedError(`The archive was cut off: ${why}.`, { cause: problem });
  }
}

function overCount({ items }: Batch): number {
  return items.total - items.queued - items.running - items.canceling;
}

function isOver({ status }: BatchResult): boolean {
  return !["queued", "running", "canceling"].includes(status);
}
