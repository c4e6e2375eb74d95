/** One canonical name function for every table: the list of odd names against `cloudflared` and `mtls-postgres`. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { cloudflaredConfig } from "../../plugins/cloudflared/config.ts";
import { joinFirstLabels } from "../../plugins/cloudflared/host_name.ts";
import { CloudflaredPlugin } from "../../plugins/cloudflared/plugin.ts";
import { systemTools, type Tools } from "../../plugins/cloudflared/tools.ts";
import { mtlsConfig } from "../../plugins/mtls-postgres/config.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { readToEnd, startEcho, startSource } from "../support/echo.ts";
import { sClient } from "../support/openssl.ts";
import { hasProgram } from "../support/permissions.ts";
import { TestPlane } from "../support/plane.ts";
import { until } from "../support/until.ts";
import { alertIn, type Connectable } from "../support/wire.ts";
import { MtlsPlane } from "./mtls_plane.ts";
import { ODD_NAMES, show } from "./odd_names.ts";
import { REACHED } from "./static_plane.ts";

const UNRECOGNIZED_NAME = 112;
const DECODE_ERROR = 50;
const DOMAIN = "example.com";

async function ask(gateway: Connectable, name: string | Uint8Array): Promise<number | undefined> {
  using client = await gateway.connect();
  await writeAll(client, inRecords(helloMessage({ extensions: [serverName(name)] })));
  return alertIn(await readToEnd(client));
}

/** The real `cloudflared` plugin; each start fails, and leaves the host name that it was for. */
function startTunnels(names: readonly string[]): { readonly plugin: CloudflaredPlugin; starts: string[] } {
  const starts: string[] = [];
  const tools: Tools = {
    ...systemTools(),
    mayRun: () => true,
    isFree: () => true,
    spawn(_, { args }) {
      starts.push(args[args.indexOf("--hostname") + 1] ?? "");
      throw new Deno.errors.NotFound();
    },
  };
  return { plugin: new CloudflaredPlugin(cloudflaredConfig.parse({ names }), SILENT_LOG, tools), starts };
}

for (const { asked, is } of ODD_NAMES) {
  Deno.test(`cloudflared: SNI ${show(asked)} ${is === undefined ? "starts nothing" : "has its tunnel"}`, async () => {
    await using stack = new AsyncDisposableStack();
    const { plugin, starts } = stack.use({
      ...startTunnels(["*"]),
      async [Symbol.asyncDispose]() {
        await this.plugin[Symbol.asyncDispose]();
      },
    });
    await using gateway = new TestPlane({ plugins: [plugin] });
    const alert = await ask(gateway, asked);
    if (is === undefined) {
      assert.deepEqual(starts, []);
      assert.ok(alert === UNRECOGNIZED_NAME || alert === DECODE_ERROR, `alert ${alert}`);
      return;
    }
    const fits = is.split(".").every((label, i) => i > 0 || label.length + "cft-".length <= 63) &&
      is.length <= 249;
    assert.deepEqual(starts, fits ? [`cft-${joinFirstLabels(is)}`] : []);
    assert.equal(alert, fits ? 80 : UNRECOGNIZED_NAME);
  });
}

Deno.test("cloudflared: every spelling of a name comes to the same tunnel, and to that of its pattern alone", async () => {
  const { plugin, starts } = startTunnels(["DB.Example.com.", "*.example.ORG"]);
  await using gateway = new TestPlane({ plugins: [plugin] });
  for (const name of ["db.example.com", "DB.EXAMPLE.COM", "db.example.com."]) {
    assert.equal(await ask(gateway, name), 80, name);
  }
  assert.deepEqual(starts, ["cft-db.example.com"], "one start, whose failure is remembered");
  for (
    const name of [
      "a.db.example.com",
      "example.org",
      "a.b.example.org",
      "db.example.com..",
      "xdb.example.com",
    ]
  ) {
    assert.notEqual(await ask(gateway, name), 80, name);
  }
  assert.equal(starts.length, 1);
  await plugin[Symbol.asyncDispose]();
});

Deno.test("cloudflared: a name given in two spellings is an error of the config", () => {
  for (const other of ["DB.Example.COM", "db.example.com.", "ｄｂ.example.com"]) {
    const { error } = cloudflaredConfig.safeParse({ names: ["db.example.com", other] });
    assert.match(String(error), /is given twice/, other);
  }
});

for (const { asked, is } of ODD_NAMES) {
  const [label = "", ...parents] = is?.split(".") ?? [];
  const takes = parents.join(".") === DOMAIN;
  Deno.test(`mtls-postgres: SNI ${show(asked)} is ${takes ? `for ${show(label)}` : "nobody's"}`, async () => {
    await using host = startEcho();
    await using gateway = await MtlsPlane.start({ to: host.target, domain: DOMAIN });
    const alert = await ask(gateway, asked);
    const refused = await until(
      () => gateway.plane.events.find(({ event }) => event === "connection_refused"),
      { what: "a log line" },
    );
    assert.equal(refused.fields["plugin"], takes ? "plugin-0" : undefined, JSON.stringify(refused));
    assert.equal(refused.fields["sni"], is);
    if (!takes) assert.ok(alert === UNRECOGNIZED_NAME || alert === DECODE_ERROR, `alert ${alert}`);
    assert.equal(gateway.database.queries, 0);
    assert.equal(host.accepted, 0);
  });
}

Deno.test({
  name: "mtls-postgres: every spelling of a name is one connectID, in the question and in the audit",
  ignore: !hasProgram("openssl"),
  async fn() {
    await using host = startSource(REACHED);
    await using gateway = await MtlsPlane.start({ to: host.target, domain: DOMAIN });
    const certificate = await gateway.issue("alice");
    const spellings = ["db.example.com", "DB.eXaMpLe.CoM", "db.example.com.", "DB.EXAMPLE.COM."];
    for (const serverName of spellings) {
      const address = { hostname: "127.0.0.1", port: gateway.port };
      const { received, log } = await sClient(address, { serverName, certificate, input: "ping" });
      assert.equal(received, "reached", `${serverName}: ${log}`);
    }
    assert.deepEqual(gateway.lines().map(({ connectId }) => connectId), spellings.map(() => "db"));
    assert.deepEqual(gateway.database.asked.map(({ connectId }) => connectId), ["db"], "and one question");
  },
});

Deno.test("mtls-postgres: names around its domain are nobody's", async () => {
  await using host = startEcho();
  await using gateway = await MtlsPlane.start({ to: host.target, domain: DOMAIN });
  for (
    const name of ["example.com", "xexample.com", "db-example.com", "a.db.example.com", "db.example.com.x"]
  ) {
    assert.equal(await ask(gateway, name), UNRECOGNIZED_NAME, name);
  }
  assert.ok(
    gateway.plane.events.every(({ fields }) => fields["plugin"] === undefined),
    "it takes none of them",
  );
});

Deno.test("mtls-postgres: its domain is one name, however it is written, and never a pattern or an address", () => {
  const section = { issuer: "example.com", caCertificates: ["ca.pem"], database: "embedded" };
  for (const domain of ["Example.COM", "example.com.", "EXAMPLE.com"]) {
    assert.equal(mtlsConfig.parse({ ...section, domain }).domain, DOMAIN);
  }
  for (
    const domain of ["*.example.com", "*", "", ".", "127.0.0.1", "[::1]", "example..com", "exam ple.com"]
  ) {
    assert.equal(mtlsConfig.safeParse({ ...section, domain }).success, false, domain);
  }
});
