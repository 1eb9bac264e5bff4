/** The model that draws where a call names none. */

import type { components } from "./openapi.ts";
import { ModelNotFoundError } from "./refusals.ts";
import type { CallOptions, Transport } from "./transport.ts";

/** The client's own, else the platform's first base model, which is asked for once. */
export class DefaultModel {
  readonly #transport: Transport;
  #id: string | undefined;

  /** @param id - the client's own choice. */
  constructor(transport: Transport, id: string | undefined) {
    this.#transport = transport;
    this.#id = id;
  }

  /** Its id.
   *
   * @throws ModelNotFoundError if the platform has no base model.
   */
  async id(options: CallOptions): Promise<string> {
    if (this.#id === undefined) {
      const found = await this.#transport.get<components["schemas"]["BaseModels"]>("/v1/base-models", {}, options);
      this.#id = found.base_models[0]?.id ?? none();
    }
    return this.#id;
  }
}

function none(): never {
  const message = "The platform has no base model: name a model_id.";
  throw new ModelNotFoundError({ status: 0, code: "model_not_found", message });
}
