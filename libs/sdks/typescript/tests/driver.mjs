// The conformance suite's hand in this language: reads a scenario a line from stdin, plays it, prints what came a line.
import { createInterface } from "node:readline";
import { played } from "./scenarios.ts";

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await played(JSON.parse(line))));
}
