// Asks for images as a user of the official client would: only its address and key are set (by the environment).
import OpenAI from "openai";

const client = new OpenAI();
const [model] = process.argv.slice(2);

const common = { model, prompt: "a red mug", size: "64x64", steps: 2, seed: 5 };
const links = await client.images.generate({ ...common, n: 2, user: "u1", lora_weight: 0.8, guidance: 5 });
const inline = await client.images.generate({ ...common, response_format: "b64_json", output_format: "webp" });

const refusals = [];
for (const wrong of [{ model: "dall-e-3" }, { quality: "hd" }, { n: 11 }]) {
  try {
    await client.images.generate({ ...common, ...wrong });
  } catch (error) {
    refusals.push({ kind: error.constructor.name, status: error.status, code: error.code, param: error.param });
  }
}

console.log(
  JSON.stringify({
    links: links.data.map((image) => image.url),
    seeds: links.data.map((image) => image.seed),
    inline: inline.data[0].b64_json,
    refusals,
  }),
);
