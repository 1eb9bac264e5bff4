/** The organization that the key belongs to. */

import { type CallOptions, json, type Transport } from "./transport.ts";
import type { OrganizationChange, Organization as OrganizationShown } from "./types.ts";

export class Organization {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** What is known of it, its plan and limits. */
  get(options?: CallOptions): Promise<OrganizationShown> {
    return this.#transport.get("/v1/organization", {}, options);
  }

  /** Rename it, or choose whether pictures carry their parameters. */
  update(change: OrganizationChange, options?: CallOptions): Promise<OrganizationShown> {
    const content = json(change);
    return this.#transport.json({ method: "PATCH", path: "/v1/organization", content, repeatable: "always", options });
  }
}
