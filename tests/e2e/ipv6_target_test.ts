import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { staticPlane } from "../security/static_plane.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { granted } from "../support/permissions.ts";

/** Whether this machine has IPv6 at all; containers often have none. */
function hasIpv6(): boolean {
  if (!granted("net")) return false;
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

Deno.test({
  name: "a connection is forwarded to an IPv6 target, written [::1]:PORT",
  ignore: !hasIpv6(),
  async fn() {
    await using echo = startEcho({ hostname: "::1" });
    assert.match(echo.target, /^\[::1\]:\d+$/);
    await using gateway = await staticPlane([{ protocol: "ssh", to: echo.target }]);
    using client = await gateway.connect();
    await writeAll(client, new TextEncoder().encode("SSH-2.0-over-six"));
    await client.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(client)), "SSH-2.0-over-six");
    assert.equal(echo.accepted, 1);
  },
});
