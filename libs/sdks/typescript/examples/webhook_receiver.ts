// A receiver of webhooks: takes only what the platform signed, each event once, and saves the pictures.
//
//     IMAGINEO_WEBHOOK_SECRET=whsec_… node examples/webhook_receiver.ts 8080 pictures/
import { mkdir } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { Imagineo, verifyWebhook, WebhookVerificationError } from "imagineo-client";

const [port = "8080", folder = "pictures"] = process.argv.slice(2);
const secret = process.env["IMAGINEO_WEBHOOK_SECRET"] ?? "";
const client = new Imagineo();
const seen = new Set<string>(); // a real one keeps them, so that it knows them after a restart too
await mkdir(folder, { recursive: true });

const server = createServer(async (request, response) => {
  response.statusCode = await received(request).catch((problem: unknown) => {
    console.error(String(problem));
    return problem instanceof WebhookVerificationError ? 400 : 500; // both are sent again later
  });
  response.end();
});
server.listen(Number(port), "127.0.0.1", () => console.log("listening", server.address()));

async function received(request: IncomingMessage): Promise<number> {
  const event = await verifyWebhook(new Uint8Array(await buffer(request)), request.headers, secret);
  const id = String(request.headers["webhook-id"]);
  if (seen.has(id)) return 204;
  if (event.type === "generation.completed" && "run_id" in event.data) {
    const { run_id: runId } = event.data;
    console.log(await client.run(runId).save(join(folder, `${runId}.png`)));
  } else {
    console.log(event.type);
  }
  seen.add(id);
  return 204;
}
