/** Lines out of a stream of bytes, as they come. */

/** The lines of a body in UTF-8, without their newlines; empty ones are left out. Ending early closes the body. */
export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  let rest = "";
  for await (const text of texts(body)) {
    const found = (rest + text).split("\n");
    rest = found.pop() ?? "";
    yield* found.filter((line) => line.trim() !== "");
  }
  if (rest.trim() !== "") yield rest;
}

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
