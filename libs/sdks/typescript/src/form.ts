/** A multipart body with one file, and how much of the file has been taken from it. */

import type { Content } from "./transport.ts";

/** Called with the bytes of the file that have been sent, and all that there are. */
export type Progress = (sentBytes: number, totalBytes: number) => void;

/** The values of a form's other fields; a list is sent as one part each. */
export type FormFields = Readonly<Record<string, string | readonly string[] | undefined>>;

/** The body of a form, made anew for each attempt.
 *
 * With `onProgress` it is a stream, where the platform can send one; browsers cannot over HTTP/1.1, so there only the
 * start and the end are told, the end by {@link finished}.
 */
export function formContent(file: Blob | Uint8Array<ArrayBuffer>, fields: FormFields, onProgress?: Progress) {
  const blob = file instanceof Blob ? file : new Blob([file]);
  return (): Content => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) {
      for (const one of value === undefined ? [] : [value].flat()) form.append(name, one);
    }
    form.append("file", blob, "name" in blob && typeof blob.name === "string" ? blob.name : "file");
    onProgress?.(0, blob.size);
    return onProgress === undefined || "document" in globalThis ? { body: form } : counted(form, blob.size, onProgress);
  };
}

/** Tell that all was sent. */
export function finished(file: Blob | Uint8Array, onProgress?: Progress): void {
  onProgress?.(sizeOf(file), sizeOf(file));
}

/** A file's bytes. */
export function sizeOf(file: Blob | Uint8Array): number {
  return file instanceof Blob ? file.size : file.length;
}

function counted(form: FormData, totalBytes: number, onProgress: Progress): Content {
  const encoded = new Response(form);
  let sentBytes = 0;
  const counting = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, controller) {
      sentBytes += piece.length;
      // The form's own lines count for nothing: the end is told when the server has answered.
      if (sentBytes < totalBytes) onProgress(sentBytes, totalBytes);
      controller.enqueue(piece);
    },
  });
  const type = encoded.headers.get("content-type") ?? "";
  if (encoded.body === null) return { body: form };
  return { body: encoded.body.pipeThrough(counting), headers: { "Content-Type": type } };
}
