/** The files of Node, Deno and Bun. Loaded only when a path is used, so that nothing else needs a file system. */

import { ConfigurationError, OutputError } from "./errors.ts";

/** Write to a file, whole or not at all. Whether it can be written is tried before `draw` is asked for what to write.
 *
 * @throws OutputError if it cannot be written, with the system's reason.
 * @throws ConfigurationError where there are no files, as in a browser.
 */
export async function writeWhole(
  path: string,
  draw: () => Promise<Iterable<Uint8Array> | AsyncIterable<Uint8Array>>,
): Promise<void> {
  const { open, rename, rm } = await filesystem();
  const part = `${path}.${crypto.getRandomValues(new Uint32Array(1))[0]}.part`;
  const file = await open(part, "wx").catch((problem) => Promise.reject(unwritable(path, problem)));
  try {
    for await (const piece of await draw()) {
      await file.appendFile(piece).catch((problem) => Promise.reject(unwritable(path, problem)));
    }
    await file.close();
    await rename(part, path).catch((problem) => Promise.reject(unwritable(path, problem)));
  } catch (problem) {
    await file.close().catch(() => undefined);
    await rm(part, { force: true });
    throw problem;
  }
}

/** A file of the disk, read only when it is sent.
 *
 * @throws ConfigurationError if there is no such file, or no files at all.
 */
export async function fileAt(path: string): Promise<File> {
  await filesystem();
  const { openAsBlob } = await load<typeof import("node:fs")>("node:fs");
  try {
    const blob = await openAsBlob(path);
    return new File([blob], path.split(/[\\/]/).pop() || "file");
  } catch (problem) {
    throw new ConfigurationError(`${path} cannot be read: ${reason(problem)}`, { cause: problem });
  }
}

async function filesystem(): Promise<typeof import("node:fs/promises")> {
  if (!("process" in globalThis)) {
    throw new ConfigurationError("There are no files here: take the bytes instead, or give a Blob.");
  }
  return await load<typeof import("node:fs/promises")>("node:fs/promises");
}

/** By a name that bundlers for browsers do not look up. */
async function load<Module>(name: string): Promise<Module> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as Module;
}

function unwritable(path: string, problem: unknown): OutputError {
  return new OutputError(`${path} cannot be written: ${reason(problem)}`, { cause: problem });
}

function reason(problem: unknown): string {
  return `${problem instanceof Error ? problem.message : String(problem)}.`;
}
