/** LoRA models: the account's own, shared and public ones. */

import { fileAt } from "./files.ts";
import { finished, formContent, type Progress, sizeOf } from "./form.ts";
import type { components, operations } from "./openapi.ts";
import { explained } from "./oversize.ts";
import { iterated, type Page } from "./pages.ts";
import { type CallOptions, json, part, type Transport } from "./transport.ts";
import type { Model, ModelChange } from "./types.ts";

/** Which models to list, named as the API does. */
export type ModelFilter = NonNullable<operations["listModels"]["parameters"]["query"]>;

/** What to say of a LoRA file. */
export interface ModelUpload extends CallOptions {
  readonly name: string;
  /** `base_…` */
  readonly base_model_id: string;
  readonly description?: string;
  readonly trigger_words?: readonly string[];
  readonly sharing?: Model["sharing"];
  /** Organizations' ids, with `sharing` of `organizations`. */
  readonly shared_with?: readonly string[];
  /** Called with how much of the file was sent; in browsers at the start and the end only. */
  readonly onProgress?: Progress;
}

/** Seconds that an upload may take where the caller names no limit: files may be gigabytes. */
const UPLOAD_TIMEOUT_S = 3_600;

export class Models {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One page of the models that the key may use. */
  async list(filter: ModelFilter = {}, options?: CallOptions): Promise<Page<Model>> {
    const page = await this.#transport.get<Listed>("/v1/models", filter, options);
    return { items: page.models, nextCursor: page.next_cursor };
  }

  /** All models that the key may use, newest first. */
  iterate(filter: ModelFilter = {}, options?: CallOptions): AsyncGenerator<Model, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** One model. */
  get(modelId: string, options?: CallOptions): Promise<Model> {
    return this.#transport.get(`/v1/models/${part(modelId)}`, {}, options);
  }

  /** Upload a LoRA: a safetensors file in diffusers', PEFT's or kohya's naming. It is checked before it is accepted.
   *
   * @param file - its bytes, or its path in Node, Deno and Bun.
   * @throws InvalidFileError if it is not safetensors, or not a LoRA.
   * @throws LoraIncompatibleError if it does not fit the base model.
   * @throws BodyTooLargeError if it is over `limits.model_file_limit_bytes`.
   */
  async upload(file: Blob | Uint8Array<ArrayBuffer> | string, given: ModelUpload): Promise<Model> {
    const { signal, timeoutS = UPLOAD_TIMEOUT_S, onProgress, ...fields } = given;
    const options = { timeoutS, ...(signal && { signal }) };
    const found = typeof file === "string" ? await fileAt(file) : file;
    const content = formContent(found, fields, onProgress);
    const call = { method: "POST", path: "/v1/models", content, repeatable: "refused", options } as const;
    const sending = this.#transport.json<Model>(call);
    const model = await explained(sending, () => sizeOf(found), "model_file_limit_bytes", this.#transport, options);
    finished(found, onProgress);
    return model;
  }

  /** Change what is said of a model, or who may use it. */
  update(modelId: string, change: ModelChange, options?: CallOptions): Promise<Model> {
    const path = `/v1/models/${part(modelId)}`;
    return this.#transport.json({ method: "PATCH", path, content: json(change), repeatable: "always", options });
  }

  /** Erase a model. */
  delete(modelId: string, options?: CallOptions): Promise<void> {
    return this.#transport.delete(`/v1/models/${part(modelId)}`, options);
  }
}

type Listed = components["schemas"]["Models"];
