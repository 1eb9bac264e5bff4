/** API keys of the account. */

import type { components, operations } from "./openapi.ts";
import { iterated, type Page } from "./pages.ts";
import { type CallOptions, json, part, type Transport } from "./transport.ts";
import type { Key, KeyRequest, NewKey } from "./types.ts";

/** Which keys to list, named as the API does. */
export type KeyFilter = NonNullable<operations["listKeys"]["parameters"]["query"]>;

export class Keys {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One page of the account's keys, revoked ones included. */
  async list(filter: KeyFilter = {}, options?: CallOptions): Promise<Page<Key>> {
    const page = await this.#transport.get<Listed>("/v1/keys", filter, options);
    return { items: page.keys, nextCursor: page.next_cursor };
  }

  /** All the account's keys, newest first. */
  iterate(filter: KeyFilter = {}, options?: CallOptions): AsyncGenerator<Key, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** Make a key. Its `secret` is shown this once. */
  create(request: KeyRequest, options?: CallOptions): Promise<NewKey> {
    const call = { method: "POST", path: "/v1/keys", content: json(request), repeatable: "refused", options } as const;
    return this.#transport.json(call);
  }

  /** End a key. */
  revoke(keyId: string, options?: CallOptions): Promise<void> {
    return this.#transport.delete(`/v1/keys/${part(keyId)}`, options);
  }
}

type Listed = components["schemas"]["Keys"];
