import assert from "node:assert/strict";
import {
  type Course,
  courseOf,
  formatReason,
  parseReason,
  type Reason,
  type ReasonedMessage,
} from "../../../../plugins/ws-agent/control/reason.ts";

const PARSED: readonly (readonly [reason: string, parsed: Reason])[] = [
  ['held: "app.example.com" is held', { word: "held", text: '"app.example.com" is held' }],
  ["a_word_of_2030: x", { word: "a_word_of_2030", text: "x" }],
  ["limit: 5: the text goes on", { word: "limit", text: "5: the text goes on" }],
  ["limit: ", { word: "limit", text: "" }],
  ["limit: two\nlines", { word: "limit", text: "two\nlines" }],
  ["Token already in use", { text: "Token already in use" }],
  ["Held: it is", { text: "Held: it is" }],
  ["held:no space", { text: "held:no space" }],
  ["two words: x", { text: "two words: x" }],
  [" held: x", { text: " held: x" }],
  [`${"a".repeat(33)}: x`, { text: `${"a".repeat(33)}: x` }],
  ["", { text: "" }],
];

for (const [reason, parsed] of PARSED) {
  Deno.test(`parseReason() of ${JSON.stringify(reason)}`, () =>
    assert.deepEqual(parseReason(reason), parsed));
}

Deno.test("a reason that was made of a word and a text is parsed into them", () => {
  const text = "word: It's about \u{1f512}: and more";
  assert.deepEqual(parseReason(formatReason("not_allowed", text)), { word: "not_allowed", text });
});

const COURSES: readonly (readonly [message: ReasonedMessage, word: string | undefined, course: Course])[] = [
  ["authFail", "bad_token", "final"],
  ["authFail", "superseded", "final"],
  ["authFail", "controller_unavailable", "retry"],
  ["authFail", "limit", "retry"],
  ["authFail", "from_the_future", "final"],
  ["authFail", undefined, "final"],
  ["authFail", "constructor", "final"],
  ["registerFail", "not_allowed", "final"],
  ["registerFail", "held", "retry"],
  ["registerFail", "from_the_future", "retry"],
  ["registerFail", undefined, "retry"],
  ["disconnect", "superseded", "final"],
  ["disconnect", "going_away", "retry"],
  ["disconnect", "token_revoked", "retry"],
  ["disconnect", "from_the_future", "retry"],
  ["disconnect", "to_string", "retry"],
  ["disconnect", undefined, "retry"],
];

for (const [message, word, course] of COURSES) {
  Deno.test(`${message} with the word ${word}: ${course}`, () =>
    assert.equal(courseOf(message, word), course));
}
