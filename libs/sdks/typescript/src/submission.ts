/** How a submit is sent: with an Idempotency-Key always, so that one that is sent twice never draws twice. */

import { type Call, type CallOptions, json } from "./transport.ts";

/** What every submit takes beside the fields of its request. */
export interface SubmitOptions extends CallOptions {
  /** Within 24 hours the same key and request get the same answer. Made fresh where it is absent. */
  readonly idempotencyKey?: string;
  /** Seconds from now after which a run that has not started expires. 1 to 86,400. */
  readonly cancelAfterS?: number;
}

/** The API's fields, and what is this package's. Fields that are undefined are left out. */
export function splitOptions<Fields extends object>(given: Fields): [Omit<Fields, keyof SubmitOptions>, SubmitOptions] {
  const { signal, timeoutS, idempotencyKey, cancelAfterS, ...fields } = given as Fields & SubmitOptions;
  const options = {
    ...(signal !== undefined && { signal }),
    ...(timeoutS !== undefined && { timeoutS }),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(cancelAfterS !== undefined && { cancelAfterS }),
  };
  return [fields, options];
}

/** The call of a submit with a JSON body. */
export function submit(path: string, request: object, options: SubmitOptions): Call {
  const headers = submitHeaders(options);
  return { method: "POST", path, content: json(request), headers, repeatable: "always", options };
}

/** The headers of a submit: one key for all its attempts. */
export function submitHeaders({ idempotencyKey, cancelAfterS }: SubmitOptions): Record<string, string> {
  return {
    "Idempotency-Key": idempotencyKey ?? freshKey(),
    ...(cancelAfterS !== undefined && { "Cancel-After": String(cancelAfterS) }),
  };
}

/** 128 random bits; `crypto.randomUUID` is missing on pages that came over plain HTTP. */
function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
