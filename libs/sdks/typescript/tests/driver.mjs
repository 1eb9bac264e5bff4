// The conformance suite's hand in this language: reads one scenario from stdin, plays it, prints what came as JSON.
import { text } from "node:stream/consumers";
import { played } from "./scenarios.ts";

console.log(JSON.stringify(await played(JSON.parse(await text(process.stdin)))));
