// A submit's body as a command and as programs to copy. Pure.

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function python(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map((one) => python(one, indent)).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one, indent)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

export function curl(url, body) {
  return `curl ${url}/v1/generate \\\n  -H "X-API-Key: $IMAGINEO_API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -H "Prefer: wait=60" \\\n  -d ${shell(JSON.stringify(body, null, 2))}`;
}

export function pythonCode(url, body) {
  const fields = Object.entries(body).map(([name, value]) => `    ${name}=${python(value)},`).join("\n");
  return `from imagineo_client import Imagineo\n\nclient = Imagineo(base_url=${JSON.stringify(url)})  # reads IMAGINEO_API_KEY\nrun = client.generate(\n${fields}\n)\nrun.save("picture.png")`;
}

export function typescriptCode(url, body) {
  const { positive_prompt, ...options } = body;
  return `import { Imagineo } from "imagineo-client";\n\nconst client = new Imagineo({ baseUrl: ${JSON.stringify(url)} }); // reads IMAGINEO_API_KEY\nconst run = await client.generate(${JSON.stringify(positive_prompt)}, ${JSON.stringify(options, null, 2)});\nawait run.save("picture.png");`;
}
