import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { TestGateway } from "../support/gateway.ts";
import { hostPort, run } from "../support/processes.ts";
import { startSshd } from "../support/sshd.ts";
import { can } from "./can.ts";
import { staticRoutes } from "../support/static_routes.ts";

const ignore = !can("sshd", "ssh", "ssh-keygen");

Deno.test({
  name: "ssh gets through by protocol: a command, its exit code, and bytes both ways",
  ignore,
  async fn() {
    await using sshd = await startSshd();
    await using gateway = await TestGateway.start({
      yaml: staticRoutes(
        { protocol: "ssh", to: hostPort(sshd.address) },
        { protocol: "other", to: "127.0.0.1:1" },
      ),
    });
    const via = { hostname: "127.0.0.1", port: gateway.port() };

    const hello = await sshd.ssh("echo hello; exit 7", { via });
    assert.deepEqual([hello.code, hello.stdout], [7, "hello\n"], hello.stderr);

    const data = new Uint8Array(4 << 20);
    for (let at = 0; at < data.length; at += 65_536) {
      crypto.getRandomValues(data.subarray(at, at + 65_536));
    }
    const copied = await sshd.ssh("cat", { via, input: data });
    assert.equal(sha256(copied.bytes), sha256(data), copied.stderr);
  },
});

Deno.test({
  name: "ssh without a route is told so by a line before the version, and gives up",
  ignore,
  async fn() {
    await using gateway = await TestGateway.start({ yaml: staticRoutes() });
    const options = ["-F", "none", "-v", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
    const { code, stderr } = await run("ssh", {
      args: [...options, "-p", String(gateway.port()), "127.0.0.1", "true"],
    });
    assert.equal(code, 255);
    assert.match(stderr, /banner line 0: No service here takes this connection\r?\n/);
  },
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
