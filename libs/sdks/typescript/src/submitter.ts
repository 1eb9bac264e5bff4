/** Everything that draws one picture or a few: from words, or from a picture. */

import type { DefaultModel } from "./default_model.ts";
import { fileAt } from "./files.ts";
import type { Run } from "./run.ts";
import { type SubmitOptions, splitOptions, submit } from "./submission.ts";
import { type Call, part, type Transport } from "./transport.ts";
import type { DryRun, Submission, Submitted, SubmittedSeveral, Upload, Upscale, Variations } from "./types.ts";
import type { Uploads } from "./uploads.ts";

/** The fields of `POST /v1/generate` beside the prompt, and the submit's options. */
export type GenerateOptions = Omit<Submission, "positive_prompt" | "model_id" | "dry_run"> &
  Pick<Partial<Submission>, "model_id"> &
  SubmitOptions;

/** The fields of an upscale beside its source, and the submit's options. */
export type UpscaleOptions = Omit<Upscale, "image" | "upload_id" | "source" | "scale" | "dry_run"> &
  Pick<Partial<Upscale>, "scale"> &
  SubmitOptions;

/** The fields of variations beside their source, and the submit's options. */
export type VariationsOptions = Omit<Variations, "image" | "upload_id" | "source" | "dry_run"> & SubmitOptions;

/** A picture to begin from: a run, the id of a run or upload, an upload, or a picture's file, which is uploaded first. */
export type PictureSource = Run | Upload | string | Blob | Uint8Array<ArrayBuffer>;

export class Submitter {
  readonly #transport: Transport;
  readonly #uploads: Uploads;
  readonly #runOf: (submitted: Submitted) => Run;
  readonly #model: DefaultModel;

  constructor(transport: Transport, uploads: Uploads, runOf: (submitted: Submitted) => Run, model: DefaultModel) {
    this.#transport = transport;
    this.#uploads = uploads;
    this.#runOf = runOf;
    this.#model = model;
  }

  /** See `Imagineo.generate`. */
  async generate(prompt: string, given: GenerateOptions): Promise<Run> {
    return this.#runOf(await this.#transport.json<Submitted>(await this.#submission(prompt, given, {})));
  }

  /** See `Imagineo.dryRun`. */
  async dryRun(prompt: string, given: GenerateOptions): Promise<DryRun> {
    return await this.#transport.json<DryRun>(await this.#submission(prompt, given, { dry_run: true }));
  }

  /** See `Imagineo.upscale`. */
  async upscale(source: PictureSource, given: UpscaleOptions): Promise<Run> {
    const [fields, options] = splitOptions(given);
    const [path, place] = await this.#placed(source, "upscale", "/v1/upscales", options);
    const request = { scale: 2, ...fields, ...place };
    return this.#runOf(await this.#transport.json<Submitted>(submit(path, request, options)));
  }

  /** See `Imagineo.variations`. */
  async variations(source: PictureSource, given: VariationsOptions): Promise<Run[]> {
    const [fields, options] = splitOptions(given);
    const [path, place] = await this.#placed(source, "variations", "/v1/variations", options);
    const model = "upload_id" in place ? { model_id: fields.model_id ?? (await this.#model.id(options)) } : {};
    const call = submit(path, { ...fields, ...place, ...model }, options);
    const answer = await this.#transport.json<Submitted | SubmittedSeveral>(call);
    const all = "generations" in answer ? answer.generations : [answer];
    return all.map((one) => this.#runOf(one));
  }

  async #submission(prompt: string, given: GenerateOptions, more: object): Promise<Call> {
    const [fields, options] = splitOptions(given);
    const model = fields.model_id ?? (await this.#model.id(options));
    return submit("/v1/generate", { positive_prompt: prompt, ...fields, model_id: model, ...more }, options);
  }

  async #placed(source: PictureSource, ofRun: string, ofUpload: string, options: SubmitOptions) {
    const id = typeof source === "object" && "id" in source ? source.id : source;
    if (typeof id === "string" && /^gen_[0-9a-z]+$/.test(id))
      return [`/v1/generations/${part(id)}/${ofRun}`, {}] as const;
    if (typeof id === "string" && /^up_[0-9a-z]+$/.test(id)) return [ofUpload, { upload_id: id }] as const;
    if (typeof id === "object" && "upload_id" in id) return [ofUpload, { upload_id: id.upload_id }] as const;
    const file = typeof id === "string" ? await fileAt(id) : id;
    const { upload_id } = await this.#uploads.create(file, options);
    return [ofUpload, { upload_id }] as const;
  }
}
