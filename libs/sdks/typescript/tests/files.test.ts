import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileAt, writeWhole } from "../src/files.ts";
import { ConfigurationError, OutputError } from "../src/index.ts";
import { texts } from "../src/lines.ts";
import { iterated } from "../src/pages.ts";
import { collected } from "./server.ts";

const folder = await mkdtemp(join(tmpdir(), "imagineo-client-"));
after(() => rm(folder, { recursive: true }));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("a file is written whole, in place of the one before", async () => {
  const path = join(folder, "whole.png");
  await writeFile(path, "before, and longer");
  await writeWhole(path, () => Promise.resolve([bytes("after"), bytes("!")]));
  assert.equal(await readFile(path, "utf8"), "after!");
});

test("what fails while it is drawn leaves the file before, and no part", async () => {
  const path = join(folder, "kept.png");
  await writeFile(path, "before");
  const failure = new Error("cut");
  const broken = async function* () {
    yield bytes("half");
    await Promise.reject(failure);
  };
  await assert.rejects(
    writeWhole(path, () => Promise.resolve(broken())),
    failure,
  );
  assert.equal(await readFile(path, "utf8"), "before");
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.endsWith(".part")),
    [],
  );
});

test("a place that cannot be written to is told before anything is drawn", async () => {
  const path = join(folder, "absent", "x.png");
  const drawn = () => assert.fail("drawn in vain");
  await assert.rejects(writeWhole(path, drawn), (problem: Error) => {
    assert.ok(problem instanceof OutputError);
    assert.ok(problem.message.startsWith(`${path} cannot be written: ENOENT`));
    return true;
  });
});

test("a folder is told before anything is drawn", async () => {
  const drawn = () => assert.fail("drawn in vain");
  await assert.rejects(writeWhole(folder, drawn), {
    name: "OutputError",
    message: `${folder} cannot be written: it is a folder, and must be a file.`,
  });
});

test("a device is written to, and stays one", { skip: !existsSync("/dev/full") }, async () => {
  const written = writeWhole("/dev/full", () => Promise.resolve([bytes("x")]));
  await assert.rejects(written, {
    name: "OutputError",
    message: "/dev/full cannot be written: ENOSPC: no space left on device.",
  });
  assert.ok((await stat("/dev/full")).isCharacterDevice());
});

test("a file that is absent is a ConfigurationError; one that is there keeps its name", async () => {
  await assert.rejects(fileAt(join(folder, "none.safetensors")), ConfigurationError);
  await writeFile(join(folder, "some.safetensors"), "x");
  const file = await fileAt(join(folder, "some.safetensors"));
  assert.deepEqual([file.name, file.size], ["some.safetensors", 1]);
});

test("characters come whole, wherever the body is cut", async () => {
  const body = bytes('{"a":"é🍎"}\n\n{"b":2}\r\nlast');
  for (let cut = 0; cut <= body.length; cut++) {
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of [body.slice(0, cut), body.slice(cut)]) controller.enqueue(piece);
        controller.close();
      },
    });
    assert.equal((await collected(texts(stream))).join(""), new TextDecoder().decode(body));
  }
});

test("pages are asked for one by one, and only when they are needed", async () => {
  const asked: (string | undefined)[] = [];
  const read = (cursor: string | undefined) => {
    asked.push(cursor);
    const number = Number(cursor ?? 0);
    return Promise.resolve({ items: [number, number + 1], nextCursor: number < 4 ? String(number + 2) : null });
  };
  assert.deepEqual(await collected(iterated(read)), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(asked, [undefined, "2", "4"]);
  for await (const item of iterated(read, "2")) if (item === 3) break;
  assert.deepEqual(asked.slice(3), ["2"]);
});
