/** Runs by their ids: list, read, follow, cancel, erase, draw again. */

import { UnexpectedAnswerError } from "./errors.ts";
import { type FollowOptions, follow, type RunEvent } from "./event_stream.ts";
import type { components, operations } from "./openapi.ts";
import { iterated, type Page } from "./pages.ts";
import { PermissionDeniedError } from "./refusals.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Run } from "./run.ts";
import { type SubmitOptions, splitOptions, submit } from "./submission.ts";
import { type CallOptions, part, type Transport } from "./transport.ts";
import type { Generation, Manifest, ReplayRequest, Submitted } from "./types.ts";

/** Which runs to list, named as the API does. */
export type GenerationFilter = NonNullable<operations["listGenerations"]["parameters"]["query"]>;

export class Generations {
  readonly #transport: Transport;
  readonly #policy: RetryPolicy;
  readonly #runOf: (submitted: Submitted) => Run;

  constructor(transport: Transport, policy: RetryPolicy, runOf: (submitted: Submitted) => Run) {
    this.#transport = transport;
    this.#policy = policy;
    this.#runOf = runOf;
  }

  /** One page of the account's runs. */
  async list(filter: GenerationFilter = {}, options?: CallOptions): Promise<Page<Generation>> {
    const page = await this.#transport.get<Listed>("/v1/generations", filter, options);
    return { items: page.generations, nextCursor: page.next_cursor };
  }

  /** All the account's runs, newest first. */
  iterate(filter: GenerationFilter = {}, options?: CallOptions): AsyncGenerator<Generation, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** One run as it is now. */
  get(runId: string, options?: CallOptions): Promise<Generation> {
    return this.#transport.get(`/v1/generations/${part(runId)}`, {}, options);
  }

  /** A run's changes until it is over, over as many connections as it takes. */
  events(runId: string, options?: FollowOptions): AsyncGenerator<RunEvent, void, undefined> {
    return follow(this.#transport, runId, this.#policy, options);
  }

  /** Stop a run; gives it as it then stands. */
  cancel(runId: string, options?: CallOptions): Promise<Generation> {
    const path = `/v1/generations/${part(runId)}/cancel`;
    return this.#transport.json({ method: "POST", path, repeatable: "always", options });
  }

  /** Erase a run: row, picture and queued job. */
  delete(runId: string, options?: CallOptions): Promise<void> {
    return this.#transport.delete(`/v1/generations/${part(runId)}`, options);
  }

  /** How a completed run's picture was made, to the digests of the files. */
  manifest(runId: string, options?: CallOptions): Promise<Manifest> {
    return this.#transport.get(`/v1/generations/${part(runId)}/manifest`, {}, options);
  }

  /** Draw a run again as its manifest says, and have the two compared. */
  async replay(runId: string, options: ReplayRequest & SubmitOptions = {}): Promise<Run> {
    const [request, rest] = splitOptions(options);
    const call = submit(`/v1/generations/${part(runId)}/replay`, request, rest);
    return this.#runOf(await this.#transport.json<Submitted>(call));
  }

  /** The picture's file of a completed run. Where its link has expired, a fresh one is asked for.
   *
   * @throws UnexpectedAnswerError if there is no picture, or not all of it came.
   */
  async imageOf(generation: Generation, options?: CallOptions): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return await this.#fetched(generation, options);
    } catch (problem) {
      if (!(problem instanceof PermissionDeniedError)) throw problem;
      return await this.#fetched(await this.get(generation.run_id, options), options);
    }
  }

  async #fetched({ run_id: id, image_url: path, image }: Generation, options?: CallOptions) {
    if (path === null) throw new UnexpectedAnswerError(`${id} has no picture.`);
    const bytes = await this.#transport.bytes({ method: "GET", path, repeatable: "always", options });
    if (image === null || bytes.length === image.bytes) return bytes;
    throw new UnexpectedAnswerError(`The picture of ${id} has ${image.bytes} bytes; ${bytes.length} came.`);
  }
}

type Listed = components["schemas"]["Generations"];
