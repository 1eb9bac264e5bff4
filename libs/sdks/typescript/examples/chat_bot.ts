// A bot as for a chat such as Discord: `/imagine a red apple` is answered with progress, then with a picture.
//
//     node examples/chat_bot.ts pictures/ < messages
//
// Here the chat is the terminal: messages come by lines, and an answer that is edited is printed again. Several people
// are served at once; whoever asks for too much is told so, and nobody else waits for that.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Imagineo, ImagineoError, TooManyRequestsError } from "imagineo-client";

const [folder = "pictures"] = process.argv.slice(2);
const client = new Imagineo();
await mkdir(folder, { recursive: true });

const answering: Promise<void>[] = [];
let number = 0;
for await (const message of createInterface({ input: process.stdin })) {
  const [, prompt] = /^\/imagine\s+(.+)$/.exec(message) ?? [];
  if (prompt !== undefined) answering.push(answer(++number, prompt));
}
await Promise.all(answering);

async function answer(id: number, prompt: string): Promise<void> {
  const edit = (text: string) => console.log(`#${id} ${text}`);
  try {
    const run = await client.generate(prompt, { width: 256, height: 256 });
    edit(`queued, about ${run.estimatedTime} s`);
    const onProgress = ({ status, progress }: { status: string; progress: number }) => edit(`${status} ${progress} %`);
    edit(`here it is: ${await run.save(join(folder, `${run.id}.png`), { timeoutS: 300, onProgress })}`);
  } catch (problem) {
    if (!(problem instanceof ImagineoError)) throw problem;
    const isBusy = problem instanceof TooManyRequestsError;
    edit(isBusy ? `too much at once, try again in ${problem.retryAfterS ?? 60} s` : `sorry: ${problem.message}`);
  }
}
