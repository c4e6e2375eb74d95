import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import type { PluginDeclaration } from "../../core/config/config.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { prepareYaml, TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";
import { SshLikeClient } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";
import type { Ledger } from "../testdata/plugins/ledger.ts";

const module = new URL("../testdata/plugins/ledger.ts", import.meta.url).href;
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const TIMES = { pingMs: 150, firstBackoffMs: 100 };

function ledgerOf(isolation: "inline" | "worker"): Record<string, PluginDeclaration> {
  return { ledger: { module, isolation, permissions: {} } };
}

async function readLedger(gateway: TestGateway): Promise<Ledger> {
  const { plugins } = await (await fetch(`${gateway.adminUrl}/api/v1/status`)).json();
  return plugins.find(({ name }: { name: string }) => name === "ledger").status.details;
}

async function sendHttp(gateway: TestGateway): Promise<void> {
  using client = await gateway.connect();
  await writeAll(client, new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await client.closeWrite();
  await readToEnd(client);
}

async function openRelayed(gateway: TestGateway): Promise<{ client: SshLikeClient; id: string }> {
  const client = await (await SshLikeClient.connect(gateway.port())).greeted();
  const { port } = client.conn.localAddr;
  const opened = await gateway.logged("connection_opened", ({ source }) => source === `127.0.0.1:${port}`);
  return { client, id: String(opened["connection"]) };
}

for (const isolation of ["inline", "worker"] as const) {
  for (const threads of [1, 2]) {
    Deno.test({
      name: `a ${isolation} plugin ends its own connections and nobody else's, ${threads} data plane(s)`,
      ignore,
      async fn() {
        await using echo = startEcho();
        await using gateway = await TestGateway.start({
          yaml: `plugins:
            ledger: { to: "${echo.target}" }
            static: { routes: [{ protocol: other, to: "${echo.target}" }] }`,
          declarations: ledgerOf(isolation),
          threads,
        });
        const { client, id } = await openRelayed(gateway);
        using _ = client;
        using foreign = await gateway.connect();
        await writeAll(foreign, new TextEncoder().encode("\u0001 something\r\n"));
        const echoed = new Uint8Array(64);
        assert.ok(await foreign.read(echoed), "the other plugin's connection is relayed");

        const isClosed = () =>
          gateway.events.some(({ event, connection }) => event === "connection_closed" && connection === id);
        // With several data planes an inline plugin is there several times, and each knows its own connections.
        for (let tries = 0; !isClosed(); tries++) {
          assert.ok(tries < 500, "its connection is not closed");
          await sendHttp(gateway);
        }
        const closed = gateway.events.find((one) =>
          one.event === "connection_closed" && one["connection"] === id
        );
        assert.equal(closed?.["result"], "access_revoked");
        await writeAll(foreign, new TextEncoder().encode("still there"));
        assert.ok(await foreign.read(echoed), "the other plugin's connection goes on");
      },
    });
  }
}

Deno.test({
  name: "when a data plane crashes, an isolated plugin hears of each of its connections that it has ended",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `plugins:
        ledger: { to: "${echo.target}" }
        troubled: { to: "${echo.target}", trouble: "throws in a timer" }`,
      declarations: {
        ...ledgerOf("worker"),
        troubled: { module: troubled, isolation: "inline", permissions: {} },
      },
      times: TIMES,
    });
    const { client, id } = await openRelayed(gateway);
    using _ = client;
    using bringer = await gateway.connect();
    await writeAll(bringer, new TextEncoder().encode("trouble\r\n\r\n"));
    await until(async () => (await readLedger(gateway)).entries.length === 2, { what: "the end to be told" });
    assert.deepEqual((await readLedger(gateway)).entries, [`open ${id}`, `closed ${id} plane_lost`]);
  },
});

Deno.test({
  name: "when a plugin crashes, its successor is handed the open connections, and hears of their end",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `plugins: { ledger: { to: "${echo.target}", onHttp: crash } }`,
      declarations: ledgerOf("worker"),
      times: TIMES,
    });
    const { client, id } = await openRelayed(gateway);
    using _ = client;
    await sendHttp(gateway);
    const unit = gateway.supervisor.pluginUnits.get("ledger");
    await until(() => unit?.worker.restarts === 1 && unit.worker.up, { what: "the plugin to be back" });
    await until(async () => (await readLedger(gateway)).entries.length === 1, { what: "the adoption" });
    assert.deepEqual((await readLedger(gateway)).entries, [`adopt ${id}`]);
    assert.equal(await client.finish(), "");
    await until(async () => (await readLedger(gateway)).entries.length === 2, { what: "the end to be told" });
    assert.deepEqual((await readLedger(gateway)).entries, [`adopt ${id}`, `closed ${id} ok`]);
  },
});

for (const isolation of ["inline", "worker"] as const) {
  Deno.test({
    name: `a ${isolation} plugin gets the files that its config names, and gets them again when they change`,
    ignore,
    async fn() {
      await using folder = await temporaryFolder();
      const path = `${folder.path}/ca.pem`;
      await Deno.writeTextFile(path, "first");
      const options = {
        yaml: `plugins: { ledger: { to: "127.0.0.1:1", files: [${JSON.stringify(path)}] } }`,
        declarations: ledgerOf(isolation),
      };
      await using gateway = await TestGateway.start(options);
      assert.deepEqual((await readLedger(gateway)).files, { [path]: "first" });
      await Deno.writeTextFile(path, "second");
      assert.deepEqual(await gateway.reload(options), []);
      assert.deepEqual((await readLedger(gateway)).files, { [path]: "second" });
    },
  });
}

const unreadable: Readonly<Record<string, { make(path: string): Promise<void>; message: RegExp }>> = {
  "is missing": { make: () => Promise.resolve(), message: /ca\.pem": There is no such file$/ },
  "is a folder": { make: (path) => Deno.mkdir(path), message: /ca\.pem": It is not a file$/ },
  "is no text": {
    make: (path) => Deno.writeFile(path, Uint8Array.of(0xff, 0xfe)),
    message: /ca\.pem": Not UTF-8 text$/,
  },
  "is too large": {
    make: (path) => Deno.writeFile(path, new Uint8Array(2 ** 20 + 1)),
    message: /ca\.pem": It has 1048577 bytes; at most 1048576 are read$/,
  },
};

for (const [what, { make, message }] of Object.entries(unreadable)) {
  Deno.test({
    name: `a file of a plugin's that ${what} is an error of the config`,
    ignore,
    async fn() {
      await using folder = await temporaryFolder();
      const path = `${folder.path}/ca.pem`;
      await make(path);
      await assert.rejects(
        prepareYaml({
          yaml: `plugins: { ledger: { to: "127.0.0.1:1", files: [${JSON.stringify(path)}] } }`,
          declarations: ledgerOf("worker"),
        }),
        { message },
      );
    },
  });
}
