/** The client: everything of one account, over one transport. */

import { BaseModels } from "./base_models.ts";
import type { BatchRun } from "./batch_run.ts";
import { Batches } from "./batches.ts";
import { DefaultModel } from "./default_model.ts";
import { Generations } from "./generations.ts";
import { Keys } from "./keys.ts";
import { Limits } from "./limits.ts";
import { Models } from "./models.ts";
import { Organization } from "./organization.ts";
import { Run } from "./run.ts";
import { type ClientOptions, settingsOf } from "./settings.ts";
import {
  type GenerateOptions,
  type PictureSource,
  Submitter,
  type UpscaleOptions,
  type VariationsOptions,
} from "./submitter.ts";
import { Transport } from "./transport.ts";
import type { DryRun, Submitted } from "./types.ts";
import { Uploads } from "./uploads.ts";
import { Usage } from "./usage.ts";
import { Webhooks } from "./webhooks.ts";

/** One account's platform. It holds no connection open and needs no end. */
export class Imagineo {
  readonly generations: Generations;
  readonly uploads: Uploads;
  readonly batches: Batches;
  readonly models: Models;
  readonly baseModels: BaseModels;
  readonly keys: Keys;
  readonly usage: Usage;
  readonly limits: Limits;
  readonly organization: Organization;
  readonly webhooks: Webhooks;
  readonly #submitter: Submitter;

  /**
   * @throws MissingApiKeyError where neither the options nor the environment have a key.
   * @throws ConfigurationError for an option that cannot work.
   */
  constructor(options: ClientOptions = {}) {
    const settings = settingsOf(options);
    const transport = new Transport(settings);
    const model = new DefaultModel(transport, settings.modelId);
    this.generations = new Generations(transport, settings.retry, (submitted) => this.#runOf(submitted));
    this.uploads = new Uploads(transport);
    this.batches = new Batches(transport, model);
    this.models = new Models(transport);
    this.baseModels = new BaseModels(transport);
    this.keys = new Keys(transport);
    this.usage = new Usage(transport);
    this.limits = new Limits(transport);
    this.organization = new Organization(transport);
    this.webhooks = new Webhooks(transport);
    const runOf = (submitted: Submitted): Run => this.#runOf(submitted);
    this.#submitter = new Submitter(transport, this.uploads, runOf, model);
  }

  /** Draw a picture: gives the run at once.
   *
   * @param positivePrompt - what to draw, 1 to 2,000 characters.
   * @param options - the fields of `POST /v1/generate`; without a `model_id` the client's, or the first base model.
   * @throws ApiError what is wrong with the request, or used up; nothing was charged then.
   */
  generate(positivePrompt: string, options: GenerateOptions = {}): Promise<Run> {
    return this.#submitter.generate(positivePrompt, options);
  }

  /** Check, price and estimate the same request; draw nothing. */
  dryRun(positivePrompt: string, options: GenerateOptions = {}): Promise<DryRun> {
    return this.#submitter.dryRun(positivePrompt, options);
  }

  /** Draw a picture larger, twice where `scale` is not given. */
  upscale(source: PictureSource, options: UpscaleOptions = {}): Promise<Run> {
    return this.#submitter.upscale(source, options);
  }

  /** Draw variations of a picture, one where `count` is not given; each is a run. */
  variations(source: PictureSource, options: VariationsOptions = {}): Promise<Run[]> {
    return this.#submitter.variations(source, options);
  }

  /** The handle of a run by its id; no call is made. */
  run(runId: string): Run {
    return new Run(runId, this.generations, () => this.#submitter);
  }

  /** The handle of a batch by its id; no call is made. */
  batch(batchId: string): BatchRun {
    return this.batches.batch(batchId);
  }

  #runOf(submitted: Submitted): Run {
    return new Run(submitted.run_id, this.generations, () => this.#submitter, submitted);
  }
}
