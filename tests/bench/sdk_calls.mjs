// Times reads and submits by the TypeScript client and by bare fetch, in turns; prints medians as JSON.
import { text } from "node:stream/consumers";
import { Imagineo } from "../../libs/sdks/typescript/src/index.ts";

const ROUNDS = 11;
const CALLS = 60;
const { url, api_key: apiKey, model_id } = JSON.parse(await text(process.stdin));
const client = new Imagineo({ baseUrl: url, apiKey });
const request = { positive_prompt: "a mug", model_id, width: 64, height: 64, steps: 2 };
const run = await client.generate(request.positive_prompt, request);

async function bare(path, init = {}) {
  const headers = { "X-API-Key": apiKey, "Content-Type": "application/json" };
  const answer = await fetch(url + path, { headers, ...init });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return await answer.json();
}

const { positive_prompt: prompt, ...fields } = request;
const CALLED = {
  read: [() => client.generations.get(run.id), () => bare(`/v1/generations/${run.id}`)],
  submit: [
    () => client.generate(prompt, fields),
    () => {
      const headers = { "X-API-Key": apiKey, "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() };
      return bare("/v1/generate", { method: "POST", body: JSON.stringify(request), headers });
    },
  ],
};

async function roundMs(call) {
  const startedMs = performance.now();
  for (let count = 0; count < CALLS; count++) await call();
  return (performance.now() - startedMs) / CALLS;
}

function median(values) {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];
}

const found = {};
for (const [name, [ours, floor]] of Object.entries(CALLED)) {
  await roundMs(ours);
  await roundMs(floor);
  const rounds = [];
  // Who goes first changes from round to round.
  for (let round = 0; round < ROUNDS; round++) {
    const pair = round % 2 === 0 ? [await roundMs(ours), await roundMs(floor)] : [await roundMs(floor), await roundMs(ours)].reverse();
    rounds.push(pair);
  }
  found[`${name}_over_fetch_ratio`] = median(rounds.map(([own, base]) => own / base));
  found[`${name}_ms`] = median(rounds.map(([own]) => own));
}
console.log(JSON.stringify(found));
