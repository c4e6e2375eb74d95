import assert from "node:assert/strict";
import { FailureLimits } from "../../core/failure_limits.ts";

for (const limit of [1, 3, 7, 30, 100]) {
  Deno.test(`${limit} failures are let pass, the next is one too many, and a minute forgets them evenly`, () => {
    const limits = new FailureLimits(limit);
    for (let i = 0; i < limit; i++) {
      assert.equal(limits.isOver("192.0.2.1", 0), false, `after ${i}`);
      limits.failed("192.0.2.1", 0);
    }
    assert.equal(limits.isOver("192.0.2.1", 0), true);
    assert.equal(limits.isOver("192.0.2.2", 0), false, "another source");
    const oneLater = 60_000 / limit;
    assert.equal(limits.isOver("192.0.2.1", oneLater * 0.4), true);
    assert.equal(limits.isOver("192.0.2.1", oneLater), false);
    limits.failed("192.0.2.1", oneLater);
    assert.equal(limits.isOver("192.0.2.1", oneLater), true);
    assert.equal(limits.isOver("192.0.2.1", oneLater + 60_000), false);
  });
}

Deno.test("failures beyond the limit, as of handshakes that were on their way, don't lock out for longer", () => {
  const limits = new FailureLimits(2);
  for (let i = 0; i < 1000; i++) limits.failed("192.0.2.1", 0);
  assert.equal(limits.isOver("192.0.2.1", 14_000), true);
  assert.equal(limits.isOver("192.0.2.1", 31_000), false);
});

Deno.test("a /64 of IPv6 is one source", () => {
  const limits = new FailureLimits(1);
  limits.failed("2001:db8:0:1::1", 0);
  assert.equal(limits.isOver("2001:db8:0:1:ffff::2", 0), true);
  assert.equal(limits.isOver("2001:db8:0:2::1", 0), false);
});

Deno.test("what is kept has an end, and who failed longest ago is forgotten first", () => {
  const limits = new FailureLimits(1, 100);
  for (let i = 0; i < 1000; i++) limits.failed(`10.0.${i >> 8}.${i & 255}`, 0);
  assert.equal(limits.sources, 100);
  assert.equal(limits.isOver("10.0.0.0", 0), false);
  assert.equal(limits.isOver("10.0.3.231", 0), true);
});

Deno.test("0 is no limit, also when it is set later", () => {
  const limits = new FailureLimits(0);
  for (let i = 0; i < 100; i++) limits.failed("192.0.2.1", 0);
  assert.equal(limits.isOver("192.0.2.1", 0), false);
  limits.perMinute = 1;
  limits.failed("192.0.2.1", 0);
  assert.equal(limits.isOver("192.0.2.1", 0), true);
  limits.perMinute = 0;
  assert.equal(limits.isOver("192.0.2.1", 0), false);
  assert.equal(limits.sources, 0);
});
