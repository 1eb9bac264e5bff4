/** The organization that the key belongs to, its members and what they did. */

import { AuditLog } from "./audit_log.ts";
import { Invitations } from "./invitations.ts";
import { Members } from "./members.ts";
import { type CallOptions, json, type Transport } from "./transport.ts";
import type { OrganizationChange, Organization as OrganizationShown } from "./types.ts";

export class Organization {
  readonly members: Members;
  readonly invitations: Invitations;
  readonly auditLog: AuditLog;
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
    this.members = new Members(transport);
    this.invitations = new Invitations(transport);
    this.auditLog = new AuditLog(transport);
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
