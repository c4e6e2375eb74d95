import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import type { PluginDeclaration } from "../../core/config/config.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";

const module = new URL("../testdata/plugins/forward_all.ts", import.meta.url).href;
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

for (const isolation of ["inline", "worker"] as const) {
  for (const threads of [1, 2]) {
    Deno.test({
      name: `a ${isolation} plugin decides for ${threads} data plane(s)`,
      ignore,
      async fn() {
        await using echo = startEcho();
        const declaration: PluginDeclaration = { module, isolation, permissions: {} };
        await using gateway = await TestGateway.start({
          yaml: `plugins: { all: { to: "${echo.target}" } }`,
          declarations: { all: declaration },
          threads,
        });
        using client = await gateway.connect();
        await writeAll(client, new TextEncoder().encode("SSH-2.0-hello"));
        await client.closeWrite();
        assert.equal(new TextDecoder().decode(await readToEnd(client)), "SSH-2.0-hello");
      },
    });
  }
}
