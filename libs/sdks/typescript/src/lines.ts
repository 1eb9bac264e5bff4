/** A body's pieces, as text or as bytes, as they come. */

/** The pieces of a body as text, cut anywhere but inside a character. Ending early closes the body. */
export async function* texts(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  for await (const piece of pieces(body)) yield decoder.decode(piece, { stream: true });
  const last = decoder.decode();
  if (last !== "") yield last;
}

/** The pieces of a body. Ending early closes it. Not every browser can iterate over a stream by itself. */
export async function* pieces(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
