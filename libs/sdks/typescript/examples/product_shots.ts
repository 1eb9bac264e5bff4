// Product shots in bulk: a CSV file in, a folder of pictures out, each saved as soon as it is drawn.
//
//     node examples/product_shots.ts products.csv pictures/
//
// The file has the columns `name` and `prompt`; IMAGINEO_API_KEY, IMAGINEO_URL and IMAGINEO_MODEL are read.
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Imagineo } from "imagineo-client";

const [source, folder] = process.argv.slice(2);
if (source === undefined || folder === undefined) {
  console.error("usage: product_shots.ts products.csv pictures/");
  process.exit(2);
}

const client = new Imagineo();
const products = rows(await readFile(source, "utf8"));
await mkdir(folder, { recursive: true });

const batch = await client.batches.create({
  name: source,
  items: products.map(({ prompt = "" }) => ({ positive_prompt: prompt, width: 256, height: 256 })),
});
console.log(`${batch.id}: ${products.length} pictures`);

let failedCount = 0;
for await (const { index, run_id: id, status, error } of batch.results()) {
  const name = products[index]?.["name"] ?? String(index);
  if (status === "completed") {
    console.log(await client.run(id).save(join(folder, `${name.replace(/[^\w.-]+/g, "_")}.png`)));
  } else {
    failedCount += 1;
    console.error(`${name}: ${status}${error ? `, ${error.message}` : ""}`);
  }
}
process.exitCode = failedCount === 0 ? 0 : 1;

/** The rows of a CSV file with a header; fields may stand in quotes, with commas, newlines and doubled quotes in them. */
function rows(text: string): Record<string, string>[] {
  const table: string[][] = [[]];
  for (const [, quoted, plain = "", end] of text.trim().matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    table.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === "") break;
    if (end !== ",") table.push([]);
  }
  const [names = [], ...values] = table;
  return values.map((row) => Object.fromEntries(names.map((name, column) => [name.trim(), row[column]?.trim() ?? ""])));
}
