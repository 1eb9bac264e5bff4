/** Batches: up to 1,000 pictures as one request. */

import { BatchRun } from "./batch_run.ts";
import type { DefaultModel } from "./default_model.ts";
import { ConfigurationError } from "./errors.ts";
import { broken } from "./failures.ts";
import { fileAt } from "./files.ts";
import type { components, operations } from "./openapi.ts";
import { explained } from "./oversize.ts";
import { iterated, type Page } from "./pages.ts";
import { type SubmitOptions, splitOptions, submit, submitHeaders } from "./submission.ts";
import { type Call, type CallOptions, parsed, part, type Transport } from "./transport.ts";
import type { Batch, BatchItem, BatchResult, BatchSubmitted, BatchSweep } from "./types.ts";

/** Which batches to list, named as the API does. */
export type BatchFilter = NonNullable<operations["listBatches"]["parameters"]["query"]>;

/** What a batch may say beside its items. Items that name no model are drawn by the client's, or the first base model. */
export interface BatchHead extends SubmitOptions {
  readonly name?: string;
  readonly metadata?: Record<string, string>;
  readonly webhook_url?: string;
  /** Fields for all items that leave them out. */
  readonly defaults?: BatchItem;
}

/** A batch: a list of items, every combination of a sweep's lists, or a file of JSON lines, which has no head. */
export type BatchRequest =
  | (BatchHead & { readonly items: readonly BatchItem[] })
  | (BatchHead & { readonly sweep: BatchSweep })
  | (SubmitOptions & { readonly file: Blob | Uint8Array<ArrayBuffer> | string });

export class Batches {
  readonly #transport: Transport;
  readonly #model: DefaultModel;

  constructor(transport: Transport, model: DefaultModel) {
    this.#transport = transport;
    this.#model = model;
  }

  /** Queue a batch, whole or not at all. A file is given as its bytes, or as its path in Node, Deno and Bun.
   *
   * @throws InvalidParameterError naming the place, such as `items[17].guidance` or `line 18: guidance`.
   */
  async create(request: BatchRequest): Promise<BatchRun> {
    const [fields, options] = splitOptions(request);
    const call =
      "file" in request
        ? await fileCall(request.file, fields, options)
        : submit("/v1/batches", await this.#modeled(request, fields, options), options);
    const sending = this.#transport.json<BatchSubmitted>(call);
    const answer = await explained(sending, () => sizeOfCall(call), "batch_body_limit_bytes", this.#transport, options);
    return this.batch(answer.batch_id);
  }

  /** One page of the account's batches. */
  async list(filter: BatchFilter = {}, options?: CallOptions): Promise<Page<Batch>> {
    const page = await this.#transport.get<Listed>("/v1/batches", filter, options);
    return { items: page.batches, nextCursor: page.next_cursor };
  }

  /** All the account's batches, newest first. */
  iterate(filter: BatchFilter = {}, options?: CallOptions): AsyncGenerator<Batch, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** One batch as it is now. */
  get(batchId: string, options?: CallOptions): Promise<Batch> {
    return this.#transport.get(`/v1/batches/${part(batchId)}`, {}, options);
  }

  /** Stop what has not been drawn; gives the batch as it then stands. */
  cancel(batchId: string, options?: CallOptions): Promise<Batch> {
    const path = `/v1/batches/${part(batchId)}/cancel`;
    return this.#transport.json({ method: "POST", path, repeatable: "always", options });
  }

  /** The handle of a batch; no call is made. */
  batch(batchId: string): BatchRun {
    return new BatchRun(batchId, this);
  }

  /** Every item's result as it now stands, in the items' order. */
  async *results(batchId: string, options?: CallOptions): AsyncGenerator<BatchResult, void, undefined> {
    const path = `/v1/batches/${part(batchId)}/results`;
    const read = async (answer: Response): Promise<BatchResult[]> =>
      (await answer.text())
        .split("\n")
        .flatMap((line) => (line.trim() === "" ? [] : [parsed<BatchResult>(line, path)]));
    yield* await this.#transport.send({ method: "GET", path, repeatable: "always", options }, read);
  }

  /** The pictures drawn so far and `results.jsonl` as a ZIP archive, made while it is read. */
  archive(batchId: string, options?: CallOptions): Promise<ReadableStream<Uint8Array>> {
    const path = `/v1/batches/${part(batchId)}/results`;
    const call = {
      method: "GET",
      path,
      query: { format: "zip" },
      repeatable: "always",
      options,
      isStream: true,
    } as const;
    return this.#transport.send(call, ({ body, url }) =>
      body === null ? Promise.reject(broken(url, "an empty answer")) : Promise.resolve(body),
    );
  }

  /** All pictures on one sheet, as PNG. */
  contactSheet(batchId: string, options?: CallOptions): Promise<Uint8Array<ArrayBuffer>> {
    const path = `/v1/batches/${part(batchId)}/contact-sheet.png`;
    return this.#transport.bytes({ method: "GET", path, repeatable: "always", options });
  }

  /** The same with a model for the items that name none. */
  async #modeled(request: BatchRequest, fields: object, options: SubmitOptions): Promise<object> {
    const lacks = "items" in request ? request.items.some(lacksModel) : "sweep" in request && !request.sweep.model_ids;
    const defaults = "defaults" in request ? request.defaults : {};
    if (!lacks || defaults?.model_id !== undefined) return fields;
    return { ...fields, defaults: { ...defaults, model_id: await this.#model.id(options) } };
  }
}

function lacksModel({ model_id: id }: BatchItem): boolean {
  return id === undefined;
}

async function fileCall(
  file: Blob | Uint8Array<ArrayBuffer> | string,
  fields: object,
  options: SubmitOptions,
): Promise<Call> {
  const other = Object.keys(fields).find((name) => name !== "file");
  if (other !== undefined) {
    throw new ConfigurationError(`${other} does not go with a file: each of its lines is a whole request.`);
  }
  const body = typeof file === "string" ? await fileAt(file) : file;
  const headers = { "Content-Type": "application/x-ndjson" };
  return {
    method: "POST",
    path: "/v1/batches",
    content: () => ({ body, headers }),
    headers: submitHeaders(options),
    repeatable: "always",
    options,
  };
}

async function sizeOfCall({ content }: Call): Promise<number> {
  const body = content?.().body ?? "";
  return body instanceof Blob ? body.size : (await new Response(body).arrayBuffer()).byteLength;
}

type Listed = components["schemas"]["Batches"];
