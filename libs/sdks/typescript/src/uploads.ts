/** Pictures of the user's own, kept for a while to draw from. */

import { fileAt } from "./files.ts";
import { formContent, sizeOf } from "./form.ts";
import { explained } from "./oversize.ts";
import { type CallOptions, part, type Transport } from "./transport.ts";
import type { Upload } from "./types.ts";

export class Uploads {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Upload a picture: png, jpeg or webp.
   *
   * @param file - its bytes, or its path in Node, Deno and Bun.
   * @throws InvalidFileError if it is no such picture.
   * @throws BodyTooLargeError if it is over `limits.picture_file_limit_bytes`.
   */
  async create(file: Blob | Uint8Array<ArrayBuffer> | string, options?: CallOptions): Promise<Upload> {
    const given = typeof file === "string" ? await fileAt(file) : file;
    const content = formContent(given, {});
    const call = { method: "POST", path: "/v1/uploads", content, repeatable: "refused", options } as const;
    const sending = this.#transport.json<Upload>(call);
    return await explained(sending, () => sizeOf(given), "picture_file_limit_bytes", this.#transport, options);
  }

  /** What is known of an upload. */
  get(uploadId: string, options?: CallOptions): Promise<Upload> {
    return this.#transport.get(`/v1/uploads/${part(uploadId)}`, {}, options);
  }

  /** Erase an upload. */
  delete(uploadId: string, options?: CallOptions): Promise<void> {
    return this.#transport.delete(`/v1/uploads/${part(uploadId)}`, options);
  }
}
