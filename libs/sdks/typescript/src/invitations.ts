/** Links that let one person become a member, once. */

import type { components, operations } from "./openapi.ts";
import { iterated, type Page } from "./pages.ts";
import { type CallOptions, json, part, type Transport } from "./transport.ts";
import type { Invitation, InvitationRequest, NewInvitation } from "./types.ts";

/** Which page of invitations, named as the API does. */
export type InvitationFilter = NonNullable<operations["listInvitations"]["parameters"]["query"]>;

export class Invitations {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One page, newest first, those that are over included. */
  async list(filter: InvitationFilter = {}, options?: CallOptions): Promise<Page<Invitation>> {
    const page = await this.#transport.get<Listed>(PATH, filter, options);
    return { items: page.invitations, nextCursor: page.next_cursor };
  }

  /** All invitations, newest first. */
  iterate(filter: InvitationFilter = {}, options?: CallOptions): AsyncGenerator<Invitation, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** Invite somebody. The `link` works once, for 7 days, and is shown this once; an earlier one of theirs is revoked. */
  create(request: InvitationRequest, options?: CallOptions): Promise<NewInvitation> {
    const call = { method: "POST", path: PATH, content: json(request), repeatable: "refused", options } as const;
    return this.#transport.json(call);
  }

  /** End an invitation that was not accepted. */
  revoke(invitationId: string, options?: CallOptions): Promise<void> {
    return this.#transport.delete(`${PATH}/${part(invitationId)}`, options);
  }
}

const PATH = "/v1/organization/invitations";

type Listed = components["schemas"]["Invitations"];
