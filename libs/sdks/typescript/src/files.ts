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
  const written = <Done>(work: Promise<Done>): Promise<Done> =>
    work.catch((problem) => Promise.reject(unwritable(path, problem)));
  const isSpecial = await written(isDevice(path));
  const part = isSpecial ? path : `${path}.${crypto.getRandomValues(new Uint32Array(1))[0]}.part`;
  const file = await written(open(part, isSpecial ? "w" : "wx"));
  try {
    for await (const piece of await draw()) await written(file.appendFile(piece));
    await written(file.close());
    if (!isSpecial) await written(rename(part, path));
  } catch (problem) {
    await file.close().catch(() => undefined);
    if (!isSpecial) await rm(part, { force: true });
    throw problem;
  }
}

/** Whether there is a device or a pipe, which must not be replaced by a file. */
async function isDevice(path: string): Promise<boolean> {
  const { stat } = await filesystem();
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new Error("it is a folder, and must be a file");
  return found !== undefined && !found.isFile();
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

/** The system's words, without the call and the path that it names: the path may be that of a part. */
function reason(problem: unknown): string {
  const said = problem instanceof Error ? problem.message : String(problem);
  return `${said.replace(/, \w+( '.*)?$/s, "")}.`;
}
