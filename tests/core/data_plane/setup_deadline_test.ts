import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { readToEnd } from "../../support/echo.ts";
import { TestPlane } from "../../support/plane.ts";
import { startUnreachable } from "../../support/unreachable.ts";

Deno.test("one absolute deadline holds from accept to relaying, however the steps add up", async () => {
  await using unreachable = await startUnreachable();
  let dials = 0;
  const closed = Promise.withResolvers<string>();
  await using plane = new TestPlane({
    // Four attempts of 100 ms are over 100 + 100 + 100 ms.
    plugins: [{
      route: () => ({ kind: "forward", to: Array(4).fill(unreachable.target) }),
      dialed: () => void dials++,
      closed: ({ result }) => closed.resolve(result),
    }],
    traits: { routeTimeoutMs: 100 },
    limits: { prefaceTimeoutMs: 100, connectTimeoutMs: 100 },
  });
  using client = await plane.connect();
  await writeAll(client, new TextEncoder().encode("SSH-2.0-test\r\n"));
  assert.equal(new TextDecoder().decode(await readToEnd(client)), "The service did not answer in time\r\n");
  assert.equal(await closed.promise, "connect_timeout");
  assert.equal(plane.counted("rejected_total", { reason: "connect_timeout" }), 1);
  assert.equal(dials, 3, "the fourth attempt would be over the time");
});
