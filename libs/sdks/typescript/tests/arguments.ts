/** The arguments of a scenario as this client takes them. */

/** The arguments that are not options: ids and prompts come first, the rest in one object, ours in camelCase. */
export function positional(method: string, { ...given }: Record<string, unknown>): unknown[] {
  const isDrawing = "positive_prompt" in given;
  const leads = (name: string) =>
    isDrawing ? name === "positive_prompt" : FIRST.has(name) && !method.endsWith("list");
  const first = Object.keys(given).filter(leads);
  const leading = first.map((name) => given[name]);
  for (const name of first) delete given[name];
  return Object.keys(given).length === 0 ? leading : [...leading, spelled(given)];
}

/** Options of ours in camelCase, fields of the API as they are. */
export function spelled(given: object): object {
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [OURS.has(name) ? camel(name) : name, value]));
}

const FIRST = new Set([
  "positive_prompt",
  "run_id",
  "batch_id",
  "model_id",
  "key_id",
  "webhook_id",
  "upload_id",
  "delivery_id",
  "source",
]);
const OURS = new Set(["timeout_s", "idempotency_key", "cancel_after_s"]);

/** A name of the API as this language writes it. */
export function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
