import assert from "node:assert/strict";
import { expandEnv } from "../../../core/config/env.ts";

const ENV: Readonly<Record<string, string>> = {
  A: "one",
  B2_: "two",
  EMPTY: "",
  NESTED: "${A}",
  DOLLAR: "$$",
};
const env = (name: string) => ENV[name];

const good: readonly (readonly [string, string])[] = [
  ["plain", "plain"],
  ["${A}", "one"],
  ["x${A}-${B2_}y", "xone-twoy"],
  ["${NONE:-d}", "d"],
  ["${NONE:-}", ""],
  ["${EMPTY:-d}", "d"],
  ["${EMPTY:-}", ""],
  ["${A:-d}", "one"],
  ["${NONE:-a:b, c-d}", "a:b, c-d"],
  ["$${A}", "${A}"],
  ["$$$${A}", "$$${A}"],
  ["${NESTED}", "${A}"],
  ["${DOLLAR}{A}", "$${A}"],
  ["$A $ {A} {A}", "$A $ {A} {A}"],
];
for (const [text, want] of good) {
  Deno.test(`expandEnv() makes ${JSON.stringify(want)} of ${text}`, () => {
    assert.deepEqual(expandEnv(text, env), { ok: true, text: want });
  });
}

const MALFORMED = 'Malformed variable; write ${NAME} or ${NAME:-default}, or "$${" for a literal "${"';
const bad: readonly (readonly [string, readonly string[]])[] = [
  ["${NONE}", ["Environment variable NONE is not set; set it, or write ${NONE:-default}"]],
  ["${EMPTY}", ["Environment variable EMPTY is empty; set it, or write ${EMPTY:-default}"]],
  ["${X} ${Y} ${X}", [
    "Environment variable X is not set; set it, or write ${X:-default}",
    "Environment variable Y is not set; set it, or write ${Y:-default}",
  ]],
  ["${}", [MALFORMED]],
  ["${A", [MALFORMED]],
  ["${1A}", [MALFORMED]],
  ["${A-b}", [MALFORMED]],
  ["${A B}", [MALFORMED]],
  ["${NONE:-${A}}", [MALFORMED]],
];
for (const [text, messages] of bad) {
  Deno.test(`expandEnv() refuses ${text}`, () => {
    assert.deepEqual(expandEnv(text, env), { ok: false, messages });
  });
}
