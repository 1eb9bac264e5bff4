/** Who belongs to the organization, and what they may do. */

import type { components, operations } from "./openapi.ts";
import { iterated, type Page } from "./pages.ts";
import { type CallOptions, json, part, type Transport } from "./transport.ts";
import type { Member, Role } from "./types.ts";

/** Which page of members, named as the API does. */
export type MemberFilter = NonNullable<operations["listMembers"]["parameters"]["query"]>;

export class Members {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One page, the earliest sign-up first. */
  async list(filter: MemberFilter = {}, options?: CallOptions): Promise<Page<Member>> {
    const page = await this.#transport.get<Listed>(PATH, filter, options);
    return { items: page.members, nextCursor: page.next_cursor };
  }

  /** All members. */
  iterate(filter: MemberFilter = {}, options?: CallOptions): AsyncGenerator<Member, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** Give a member another role. Only owners make or change owners, and the last owner stays. */
  update(userId: string, change: { readonly role: Role }, options?: CallOptions): Promise<Member> {
    const path = `${PATH}/${part(userId)}`;
    return this.#transport.json({ method: "PATCH", path, content: json(change), repeatable: "always", options });
  }

  /** End a membership and the member's sessions. Keys stay: revoke those they know. */
  remove(userId: string, options?: CallOptions): Promise<void> {
    return this.#transport.delete(`${PATH}/${part(userId)}`, options);
  }
}

const PATH = "/v1/organization/members";

type Listed = components["schemas"]["Members"];
