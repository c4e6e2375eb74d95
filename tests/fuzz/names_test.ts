import assert from "node:assert/strict";
import {
  canonicalName,
  canonicalNameFromBytes,
  canonicalNameFromConfig,
  parseNamePattern,
} from "../../core/names.ts";
import { GatewayError } from "../../core/errors.ts";
import { fuzz } from "./fuzz.ts";

const encoder = new TextEncoder();
const SEEDS = [
  "db.example.com",
  "*.example.com",
  "DB.EXAMPLE.COM.",
  "1.2.3.4",
  "a.0x7f",
  "bücher.example",
  "_x.y-z.q",
]
  .map((text) => encoder.encode(text));

fuzz("names", () => SEEDS, (input) => {
  const name = canonicalNameFromBytes(input);
  if (name !== undefined) {
    assert.match(
      name,
      /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/,
    );
    assert.doesNotMatch(name, /(^|\.)(\d+|0x[\da-f]*)$/);
    assert.equal(canonicalName(name), name);
  }
  const text = new TextDecoder().decode(input);
  const configured = canonicalNameFromConfig(text);
  if (configured !== undefined) assert.equal(canonicalName(configured), configured);
  try {
    const pattern = parseNamePattern(text);
    assert.equal(parseNamePattern(pattern.text).text, pattern.text);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
  }
});
