/** What a cut connection means where much was being sent. */

import { ConnectionFailedError, RequestTimeoutError } from "./errors.ts";
import { refused } from "./refusals.ts";
import type { CallOptions, Transport } from "./transport.ts";
import type { Limits } from "./types.ts";

/** The limits on what is sent. */
type Limit = "batch_body_limit_bytes" | "model_file_limit_bytes" | "picture_file_limit_bytes";

/** Less than this a server takes in before it refuses. */
const SMALL_BYTES = 65_536;

/** The same answer; where the connection broke because more was sent than is taken, the refusal that was lost with it.
 *
 * A server that refuses a body closes the connection before it has read all of it, and a client that is still sending
 * may see that before it sees the answer.
 *
 * @param size - gives how many bytes are sent; asked for only then.
 * @throws BodyTooLargeError if they are over the limit that applies to the key.
 */
export async function explained<Answer>(
  sending: Promise<Answer>,
  size: () => number | Promise<number>,
  limit: Limit,
  transport: Transport,
  { signal }: CallOptions = {},
): Promise<Answer> {
  try {
    return await sending;
  } catch (problem) {
    const isCut = problem instanceof ConnectionFailedError && !(problem instanceof RequestTimeoutError);
    const sentBytes = isCut && !problem.isUnsent ? await size() : 0;
    if (sentBytes < SMALL_BYTES) throw problem;
    const limits = await transport.get<Limits>("/v1/limits", {}, signal && { signal }).catch(() => undefined);
    const mostBytes = limits?.[limit] ?? sentBytes;
    if (sentBytes <= mostBytes) throw problem;
    const message = `${sentBytes} bytes were sent. At most ${mostBytes} are taken.`;
    throw refused({ status: 413, code: "body_too_large", message });
  }
}
