/** What happened in the organization, for its owners. */

import type { components, operations } from "./openapi.ts";
import { iterated, type Page } from "./pages.ts";
import type { CallOptions, Transport } from "./transport.ts";
import type { AuditEntry } from "./types.ts";

/** Which entries to list, named as the API does: those with one `action`. */
export type AuditFilter = NonNullable<operations["listAuditEntries"]["parameters"]["query"]>;

export class AuditLog {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One page, newest first. */
  async list(filter: AuditFilter = {}, options?: CallOptions): Promise<Page<AuditEntry>> {
    const page = await this.#transport.get<Listed>("/v1/organization/audit-log", filter, options);
    return { items: page.entries, nextCursor: page.next_cursor };
  }

  /** All entries of the last 400 days, newest first. */
  iterate(filter: AuditFilter = {}, options?: CallOptions): AsyncGenerator<AuditEntry, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }
}

type Listed = components["schemas"]["AuditLog"];
