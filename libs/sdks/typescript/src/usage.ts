/** What was drawn, by day, key and model. */

import type { operations } from "./openapi.ts";
import { iterated, type Page } from "./pages.ts";
import type { CallOptions, Transport } from "./transport.ts";
import type { Usage as UsagePage } from "./types.ts";

/** What usage to list, named as the API does: days from and to, a key, a model. */
export type UsageFilter = NonNullable<operations["getUsage"]["parameters"]["query"]>;

/** What one key drew with one model on one day. */
export type UsageRow = UsagePage["usage"][number];

/** A page of usage; the total is that of all pages. */
export interface UsageListed extends Page<UsageRow> {
  readonly total: UsagePage["total"];
}

export class Usage {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One page of images, megapixel-steps and device seconds by day, key and model, and their total. */
  async list(filter: UsageFilter = {}, options?: CallOptions): Promise<UsageListed> {
    const page = await this.#transport.get<UsagePage>("/v1/usage", filter, options);
    return { items: page.usage, nextCursor: page.next_cursor, total: page.total };
  }

  /** All rows. */
  iterate(filter: UsageFilter = {}, options?: CallOptions): AsyncGenerator<UsageRow, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }
}
