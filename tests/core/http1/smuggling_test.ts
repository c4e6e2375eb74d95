import assert from "node:assert/strict";
import { type Sample, SMUGGLING } from "../../support/smuggling.ts";
import { inPiecesOf, readRequests } from "./read_all.ts";

/** Longer samples only differ in how much of the same they have. */
const CUT_UP_TO = 600;

function expectedOf({ requests, refused }: Sample) {
  return { requests, ...(refused && { refused }) };
}

Deno.test("the smuggling table has its classes", () => {
  assert(SMUGGLING.length > 150);
  assert.equal(new Set(SMUGGLING.map(({ name }) => name)).size, SMUGGLING.length);
});

for (const sample of SMUGGLING) {
  Deno.test(`smuggling: ${sample.name}`, async () => {
    const expected = expectedOf(sample);
    assert.deepEqual(await readRequests([sample.bytes]), expected);
    assert.deepEqual(await readRequests(inPiecesOf(1, sample.bytes)), expected, "byte for byte");
    for (let cut = 1; cut < Math.min(sample.bytes.length, CUT_UP_TO); cut++) {
      const pieces = [sample.bytes.subarray(0, cut), sample.bytes.subarray(cut)];
      assert.deepEqual(await readRequests(pieces), expected, `cut at ${cut}`);
    }
  });
}
