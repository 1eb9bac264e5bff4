/** The scenarios of `tests/e2e/sdk` in this language; what they must give stands there, once for all languages. */

import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ApiError,
  type BatchItem,
  type BatchSweep,
  type Generation,
  type GenerationFilter,
  Imagineo,
  ImagineoError,
  type Run,
  verifyWebhook,
} from "../src/index.ts";
import { camel, positional, spelled } from "./arguments.ts";

/** What a scenario is told; everything beside the first four belongs to it alone. */
interface Told {
  readonly scenario: string;
  readonly url: string;
  readonly api_key: string;
  readonly options?: { readonly timeout_s?: number; readonly max_retries?: number; readonly model_id?: string };
  readonly request?: { readonly positive_prompt: string };
  readonly run_id?: string;
  readonly path?: string;
  readonly last_event_id?: string;
  readonly previews?: boolean;
  readonly timeout_s?: number;
  readonly cancel_on_timeout?: boolean;
  readonly limit?: number;
  readonly filters?: GenerationFilter;
  readonly name?: string;
  readonly base_model_id?: string;
  readonly items?: BatchItem[];
  readonly file?: string;
  readonly sweep?: BatchSweep;
  readonly defaults?: BatchItem;
  readonly email?: string;
  readonly user_id?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly secret?: string;
  readonly method?: string;
  readonly arguments?: Record<string, unknown>;
}

type Scenario = (client: Imagineo, told: Told) => Promise<unknown>;

/** Play a scenario; gives its result, or its error as far as it is this package's. */
export async function played(told: Told): Promise<object> {
  try {
    const scenario = SCENARIOS[told.scenario];
    if (scenario === undefined) throw new TypeError(`no such scenario: ${told.scenario}`);
    return { result: await scenario(clientOf(told), told) };
  } catch (problem) {
    if (problem instanceof ImagineoError) return { error: described(problem) };
    throw problem;
  }
}

function clientOf({ url, api_key: apiKey, options = {} }: Told): Imagineo {
  return new Imagineo({
    baseUrl: url,
    apiKey,
    ...(options.timeout_s !== undefined && { timeoutS: options.timeout_s }),
    ...(options.max_retries !== undefined && { maxRetries: options.max_retries }),
    ...(options.model_id !== undefined && { modelId: options.model_id }),
  });
}

function described(problem: ImagineoError): object {
  const parents: string[] = [];
  for (let kind = Object.getPrototypeOf(problem.constructor); kind !== Error; kind = Object.getPrototypeOf(kind)) {
    parents.push(kind.name);
  }
  const told = problem instanceof ApiError ? problem : undefined;
  return {
    class: problem.name,
    parents,
    message: problem.message,
    status: told?.status ?? null,
    code: told?.code ?? null,
    param: told?.param ?? null,
    request_id: told?.requestId ?? null,
    retry_after_s: told?.retryAfterS ?? null,
  };
}

async function submitted(client: Imagineo, { request, run_id: runId }: Told): Promise<Run> {
  if (runId !== undefined) return client.run(runId);
  const { positive_prompt: prompt, ...fields } = needed(request);
  return await client.generate(prompt, spelled(fields));
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  async submit(client, told) {
    const run = await submitted(client, told);
    return { run_id: run.id, seed: run.seed };
  },

  async draw(client, told) {
    const run = await submitted(client, told);
    const { run_id, status, seed } = await run.wait();
    const image = await run.image();
    return { run_id, status, seed, sha256: createHash("sha256").update(image).digest("hex"), bytes: image.length };
  },

  async save(client, told) {
    const run = await submitted(client, told);
    return { run_id: run.id, path: await run.save(needed(told.path)) };
  },

  async events(client, told) {
    const run = await submitted(client, told);
    const events: object[] = [];
    const options = {
      ...(told.previews && { previews: true }),
      ...(told.last_event_id && { lastEventId: told.last_event_id }),
    };
    for await (const { id, type, generation, preview } of run.events(options)) {
      const { status = null, progress = null } = generation ?? {};
      events.push({ id, type, status, progress, has_preview: preview !== null });
    }
    return { run_id: run.id, events };
  },

  async cancel(client, told) {
    const run = await submitted(client, told);
    let { status } = await run.cancel();
    while (status === "canceling") status = (await run.refresh()).status;
    return { run_id: run.id, status };
  },

  async wait(client, told) {
    const run = await submitted(client, told);
    const { timeout_s: timeoutS, cancel_on_timeout: cancelOnTimeout } = told;
    const options = {
      ...(timeoutS !== undefined && { timeoutS }),
      ...(cancelOnTimeout !== undefined && { cancelOnTimeout }),
    };
    return { run_id: run.id, status: (await run.wait(options)).status };
  },

  async pages(client, { limit, filters }) {
    const filter = { ...filters, ...(limit !== undefined && { limit }) };
    const page = await client.generations.list(filter);
    const ids: string[] = [];
    for await (const { run_id: id } of client.generations.iterate(filter)) ids.push(id);
    return { ids, first_page: { ids: page.items.map(idOf), has_next: page.nextCursor !== null } };
  },

  async upload_model(client, { path, name, base_model_id: base }) {
    const progress: [number, number][] = [];
    const model = await client.models.upload(needed(path), {
      name: needed(name),
      base_model_id: needed(base),
      onProgress: (sentBytes, totalBytes) => progress.push([sentBytes, totalBytes]),
    });
    const names: string[] = [];
    for await (const found of client.models.iterate()) names.push(found.name);
    await client.models.delete(model.id);
    return { id: model.id, progress, names };
  },

  async sourced(client, { run_id: runId, path }) {
    const upscaled = await (await client.upscale(needed(runId), { scale: 2 })).wait();
    const varied = await client.variations(client.run(needed(runId)), { count: 2, strength: 0.5 });
    const ended: Generation[] = [];
    for (const run of varied) ended.push(await run.wait());
    const fromFile = await (await client.upscale(needed(path))).wait();
    const [likeFile] = await client.variations(needed(path), { strength: 0.5, positive_prompt: "a red mug" });
    const { status, image } = upscaled;
    return {
      like_file: (await likeFile?.wait())?.status,
      upscaled: { status, width: image?.width, height: image?.height },
      varied: ended.map((run) => run.status),
      from_file: fromFile.status,
    };
  },

  async batch(client, { items, file, sweep, defaults }) {
    const head = { ...(defaults && { defaults }) };
    const request = file ? { file } : sweep ? { ...head, sweep } : { ...head, items: needed(items) };
    const batch = await client.batches.create(request);
    const results: object[] = [];
    for await (const { index, run_id, status } of batch.results()) results.push({ index, run_id, status });
    const { status } = await batch.wait();
    const folder = await mkdtemp(join(tmpdir(), "imagineo-batch-"));
    try {
      const archive = await readFile(await batch.archive(join(folder, "batch.zip")));
      const sheet = await batch.contactSheet();
      return { batch_id: batch.id, results, status, archive_bytes: archive.length, sheet_bytes: sheet.length };
    } finally {
      await rm(folder, { recursive: true });
    }
  },

  async account(client) {
    const limits = await client.limits.get();
    const usage = await client.usage.list();
    const key = await client.keys.create({ name: "tour", scopes: ["generations:read"] });
    const keys: string[] = [];
    for await (const { id } of client.keys.iterate()) keys.push(id);
    await client.keys.revoke(key.id);
    const left = (await client.keys.list()).items.find(({ id }) => id === key.id);
    const made = await client.webhooks.create({ url: "https://example.org/hook" });
    const updated = await client.webhooks.update(made.id, { description: "tour" });
    const rotated = await client.webhooks.rotateSecret(made.id);
    await client.webhooks.delete(made.id);
    const webhooks = (await client.webhooks.list()).items.map(({ id }) => id);
    const organization = await client.organization.get();
    return {
      limits: limits.plan !== undefined,
      usage: usage.total.images >= 0,
      keys: { made: key.id, listed: keys.includes(key.id), revoked: left === undefined || left.revoked_at !== null },
      webhooks: {
        made: made.id,
        updated: updated.description === "tour",
        rotated: rotated.secret !== made.secret,
        deleted: !webhooks.includes(made.id),
      },
      organization: organization.id,
    };
  },

  async organization({ organization }, { email, user_id: userId }) {
    const invited = await organization.invitations.create({ email: needed(email), role: "viewer" });
    await organization.invitations.revoke(invited.id);
    const invitations = new Map<string, string>();
    for await (const { id, status } of organization.invitations.iterate()) invitations.set(id, status);
    const changed = await organization.members.update(needed(userId), { role: "admin" });
    const before = (await organization.members.list()).items.map((one) => one.user_id);
    await organization.members.remove(needed(userId));
    const after: string[] = [];
    for await (const one of organization.members.iterate()) after.push(one.user_id);
    const only: string[] = [];
    for await (const { action } of organization.auditLog.iterate({ action: "invitation.created" })) only.push(action);
    return {
      renamed: (await organization.update({ name: "Renamed" })).name,
      link: invited.link,
      invitation: invitations.get(invited.id),
      role: changed.role,
      members: { before, after },
      newest: (await organization.auditLog.list({ limit: 5 })).items.map(({ action }) => action),
      only,
    };
  },

  async verify(_client, { body, headers, secret }) {
    const { type, data } = await verifyWebhook(needed(body), needed(headers), needed(secret));
    return { type, run_id: "run_id" in data ? data.run_id : null };
  },

  async call(client, { method, arguments: given = {} }) {
    const path = needed(method).split(".").map(camel);
    const name = path.pop() ?? "";
    const owner = path.reduce((holder: object, part) => Reflect.get(holder, part), client);
    const answer = await Reflect.get(owner, name).apply(owner, positional(needed(method), given));
    return answer instanceof Uint8Array ? { bytes: answer.length } : (answer ?? null);
  },
};

function idOf({ run_id: id }: Generation): string {
  return id;
}

function needed<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new TypeError("the scenario lacks an argument");
  return value;
}
