import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigurationError, Imagineo, MissingApiKeyError } from "../src/index.ts";
import { settingsOf } from "../src/settings.ts";

test("no key is a MissingApiKeyError before any request, and names both ways to give one", () => {
  const { IMAGINEO_API_KEY: before, ...rest } = process.env;
  process.env = rest;
  try {
    assert.throws(
      () => new Imagineo(),
      (problem: MissingApiKeyError) => {
        assert.ok(problem instanceof MissingApiKeyError);
        assert.equal(problem.message, "No API key: pass apiKey, or set IMAGINEO_API_KEY.");
        assert.equal(problem.code, "missing_api_key");
        return true;
      },
    );
  } finally {
    process.env = before === undefined ? rest : { ...rest, IMAGINEO_API_KEY: before };
  }
});

test("the environment fills in what is not given", () => {
  const before = process.env;
  process.env = {
    IMAGINEO_API_KEY: "imag_e ",
    IMAGINEO_URL: "https://images.example.org/v1/",
    IMAGINEO_MODEL: "model_e",
  };
  try {
    const { apiKey, baseUrl, modelId } = settingsOf({});
    assert.deepEqual([apiKey, baseUrl, modelId], ["imag_e", "https://images.example.org", "model_e"]);
    assert.equal(settingsOf({ apiKey: "imag_o" }).apiKey, "imag_o");
  } finally {
    process.env = before;
  }
});

test("an address may lie under a path", () => {
  assert.equal(settingsOf({ apiKey: "k", baseUrl: "http://host:1/images/v1" }).baseUrl, "http://host:1/images");
});

const WRONG: Record<string, ConstructorParameters<typeof Imagineo>[0]> = {
  baseUrl: { apiKey: "k", baseUrl: "images.example.org" },
  "baseUrl must": { apiKey: "k", baseUrl: "ftp://host" },
  "user name": { apiKey: "k", baseUrl: "http://me:secret@host" },
  timeoutS: { apiKey: "k", timeoutS: 0 },
  "timeoutS must": { apiKey: "k", timeoutS: Number.NaN },
  maxRetries: { apiKey: "k", maxRetries: 1.5 },
};

for (const [word, options] of Object.entries(WRONG)) {
  test(`an option that cannot work is named: ${word}`, () => {
    assert.throws(
      () => new Imagineo(options),
      (problem: Error) => problem instanceof ConfigurationError && problem.message.includes(word),
    );
  });
}

test("a key that no header can carry is refused without being repeated", () => {
  assert.throws(
    () => new Imagineo({ apiKey: "imag_a\nX-Evil: 1" }),
    (problem: Error) => problem instanceof ConfigurationError && !problem.message.includes("imag_a"),
  );
});
