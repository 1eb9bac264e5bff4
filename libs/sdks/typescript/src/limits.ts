/** Every limit that applies to the key. */

import type { CallOptions, Transport } from "./transport.ts";
import type { Limits as LimitsShown } from "./types.ts";

export class Limits {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Every limit that applies to the key, and what is left of it. */
  get(options?: CallOptions): Promise<LimitsShown> {
    return this.#transport.get("/v1/limits", {}, options);
  }
}
