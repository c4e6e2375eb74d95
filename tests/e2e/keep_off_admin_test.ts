import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { readToEnd, startSilent } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { freePort } from "../support/processes.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { can } from "./can.ts";

/** A fatal alert `access_denied`, as a record. */
const ACCESS_DENIED = [21, 3, 3, 0, 2, 2, 49];

async function startGateway(host: string, adminPort: number): Promise<TestGateway> {
  return await TestGateway.start({
    yaml: `admin: { address: "127.0.0.1:${adminPort}" }\nplugins: { named: { host: "${host}" } }`,
    threads: 2,
    declarations: {
      named: {
        module: new URL("../testdata/plugins/forward_to_named_port.ts", import.meta.url).href,
        isolation: "inline",
        permissions: {},
      },
    },
  });
}

function helloFor(port: number): Uint8Array {
  return inRecords(helloMessage({ extensions: [serverName(`p${port}.example.com`)] }));
}

/** What a client gets that asks for this port, up to the gateway's FIN. */
async function ask(gateway: TestGateway, port: number): Promise<number[]> {
  using client = await gateway.connect();
  await writeAll(client, helloFor(port));
  return [...await readToEnd(client)];
}

for (const host of ["127.0.0.1", "localhost", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"]) {
  for (const adminPort of ["fixed", "free"] as const) {
    Deno.test({
      name:
        `the admin side on a ${adminPort} port is not reached by ${host}, whichever data plane it is asked of`,
      ignore: !can(),
      async fn() {
        await using gateway = await startGateway(host, adminPort === "free" ? 0 : freePort());
        const port = Number(new URL(gateway.adminUrl).port);
        for (let i = 0; i < 6; i++) assert.deepEqual(await ask(gateway, port), ACCESS_DENIED);
        const refused = await gateway.logged("connection_refused");
        assert.deepEqual([refused.result, refused.detail], [
          "forbidden",
          `${host}:${port}: It leads to the gateway's own admin address`,
        ]);
      },
    });
  }
}

Deno.test({
  name: "another port beside the admin side is reached",
  ignore: !can(),
  async fn() {
    await using server = startSilent();
    await using gateway = await startGateway("127.0.0.1", 0);
    using client = await gateway.connect();
    await writeAll(client, helloFor(server.address.port));
    await gateway.logged("connection_opened");
    assert.equal(server.accepted, 1);
  },
});
