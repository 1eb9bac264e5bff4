/** Webhooks: where events are posted to, with which secret, and what became of each delivery. */

import type { components, operations } from "./openapi.ts";
import { iterated, type Page } from "./pages.ts";
import { type Call, type CallOptions, json, part, type Transport } from "./transport.ts";
import type { Delivery, NewWebhook, Rotation, SigningSecret, Webhook, WebhookChange, WebhookRequest } from "./types.ts";

type Schemas = components["schemas"];

/** Which webhooks to list, named as the API does. */
export type WebhookFilter = NonNullable<operations["listWebhooks"]["parameters"]["query"]>;

/** Which deliveries to list, named as the API does; `webhook_id` leaves out those of other webhooks. */
export type DeliveryFilter = NonNullable<operations["listDeliveries"]["parameters"]["query"]> & {
  readonly webhook_id?: string;
};

export class Webhooks {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Register a webhook. Its `secret` is shown this once. */
  create(request: WebhookRequest, options?: CallOptions): Promise<NewWebhook> {
    return this.#transport.json(once("POST", "/v1/webhooks", request, options));
  }

  /** One page of the registered webhooks. */
  async list(filter: WebhookFilter = {}, options?: CallOptions): Promise<Page<Webhook>> {
    const page = await this.#transport.get<Schemas["Webhooks"]>("/v1/webhooks", filter, options);
    return { items: page.webhooks, nextCursor: page.next_cursor };
  }

  /** All registered webhooks, newest first. */
  iterate(filter: WebhookFilter = {}, options?: CallOptions): AsyncGenerator<Webhook, void, undefined> {
    return iterated((cursor) => this.list({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** One webhook. */
  get(webhookId: string, options?: CallOptions): Promise<Webhook> {
    return this.#transport.get(`/v1/webhooks/${part(webhookId)}`, {}, options);
  }

  /** Change a webhook. Switching it off drops what waits for it. */
  update(webhookId: string, change: WebhookChange, options?: CallOptions): Promise<Webhook> {
    const call = once("PATCH", `/v1/webhooks/${part(webhookId)}`, change, options);
    return this.#transport.json({ ...call, repeatable: "always" });
  }

  /** Remove a webhook with its log. */
  delete(webhookId: string, options?: CallOptions): Promise<void> {
    return this.#transport.delete(`/v1/webhooks/${part(webhookId)}`, options);
  }

  /** Give a webhook a new secret; the one before signs as well for `overlap_s` seconds. */
  rotateSecret(webhookId: string, rotation: Rotation = {}, options?: CallOptions): Promise<SigningSecret> {
    return this.#transport.json(once("POST", `/v1/webhooks/${part(webhookId)}/rotate-secret`, rotation, options));
  }

  /** The account's own secret: it signs what is posted to the `webhook_url` of a run. */
  signingSecret(options?: CallOptions): Promise<SigningSecret> {
    return this.#transport.get("/v1/webhooks/secret", {}, options);
  }

  /** Give the account a new secret; the one before signs as well for `overlap_s` seconds. */
  rotateSigningSecret(rotation: Rotation = {}, options?: CallOptions): Promise<SigningSecret> {
    return this.#transport.json(once("POST", "/v1/webhooks/secret/rotate", rotation, options));
  }

  /** One page of what was posted in the last 30 days. */
  async deliveries(filter: DeliveryFilter = {}, options?: CallOptions): Promise<Page<Delivery>> {
    const { webhook_id: id, ...query } = filter;
    const path = id === undefined ? "/v1/webhooks/deliveries" : `/v1/webhooks/${part(id)}/deliveries`;
    const page = await this.#transport.get<Schemas["Deliveries"]>(path, query, options);
    return { items: page.deliveries, nextCursor: page.next_cursor };
  }

  /** All that was posted in the last 30 days, newest first. */
  iterateDeliveries(filter: DeliveryFilter = {}, options?: CallOptions): AsyncGenerator<Delivery, void, undefined> {
    return iterated((cursor) => this.deliveries({ ...filter, ...(cursor && { cursor }) }, options), filter.cursor);
  }

  /** Post a delivery again, under the same event id. */
  redeliver(deliveryId: string, options?: CallOptions): Promise<Delivery> {
    return this.#transport.json(once("POST", `/v1/webhooks/deliveries/${part(deliveryId)}/redeliver`, {}, options));
  }
}

function once(method: "POST" | "PATCH", path: string, request: object, options?: CallOptions): Call {
  return { method, path, content: json(request), repeatable: "refused", options };
}
