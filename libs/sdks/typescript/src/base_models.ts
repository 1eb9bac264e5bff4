/** The models that LoRAs go on, and that draw alone as well. */

import type { components } from "./openapi.ts";
import type { Page } from "./pages.ts";
import type { CallOptions, Transport } from "./transport.ts";
import type { BaseModel } from "./types.ts";

export class BaseModels {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** The base models, with their sizes, steps and schedulers. They are few: there are no pages. */
  async list(options?: CallOptions): Promise<Page<BaseModel>> {
    const found = await this.#transport.get<components["schemas"]["BaseModels"]>("/v1/base-models", {}, options);
    return { items: found.base_models, nextCursor: null };
  }
}
