/** One canonical name function for every table: the same list of odd names against everything that has names. */
import assert from "node:assert/strict";
import { canonicalNameFromBytes, canonicalNameFromConfig } from "../../core/names.ts";
import { staticConfig } from "../../plugins/static/config.ts";
import { bytes, helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { sClient } from "../support/openssl.ts";
import { hasProgram } from "../support/permissions.ts";
import type { TestPlane } from "../support/plane.ts";
import { alertIn, exchange } from "../support/wire.ts";
import { NAME_253, ODD_NAMES, show } from "./odd_names.ts";
import { certificateFor, REACHED, startRecorder, staticPlane } from "./static_plane.ts";
import { tunnelPlane } from "./tunnel_plane.ts";
import { writeAll } from "../../core/byte_stream.ts";
import { readToEnd, startSource } from "../support/echo.ts";

/** What a client asks for, and who gets it: the name that the service has in the config, or nobody. */
const names = ODD_NAMES.map(({ asked, is }) => ({ asked, is: is && configuredFor(is) }));

function configuredFor(name: string): string {
  if (name === "db.example.com") return name;
  if (name === NAME_253) return "long";
  return name === "xn--bcher-kva.example" ? "bücher.example" : "*.example.com";
}

const CONFIGURED = ["db.example.com", "*.example.com", "bücher.example", "long"] as const;

for (const { asked, is } of names) {
  Deno.test(`SNI ${show(asked)} is ${is ?? "nobody's"}`, async () => {
    const recorders = CONFIGURED.map((name) => [name, startRecorder()] as const);
    await using stack = new AsyncDisposableStack();
    for (const [, recorder] of recorders) stack.use(recorder);
    await using gateway = await staticPlane([
      ...recorders.map(([name, { target }]) => ({ sni: name === "long" ? NAME_253 : name, to: target })),
      { protocol: "other", to: "127.0.0.1:1" },
    ]);
    using client = await gateway.connect();
    await writeAll(client, inRecords(helloMessage({ extensions: [serverName(asked)] })));
    await client.closeWrite();
    const answer = await readToEnd(client);
    const reached = recorders.filter(([, { accepted }]) => accepted > 0).map(([name]) => name);
    assert.deepEqual(reached, is === undefined ? [] : [is]);
    if (is === undefined) assert.notEqual(alertIn(answer), undefined);
    assert.equal(canonicalNameFromBytes(bytes(asked)) === undefined, is === undefined);
  });
}

Deno.test("what no client can be brought to cannot be configured either", () => {
  // What Unicode makes of these is up to the config; on the wire there is none.
  const unicode = /[\u0080-\u{10ffff}]/u;
  for (const { asked, is } of names) {
    if (typeof asked !== "string" || asked.startsWith("*") || unicode.test(asked)) continue;
    const { success } = staticConfig.safeParse({ routes: [{ sni: asked, to: "127.0.0.1:1" }] });
    assert.equal(success, is !== undefined, show(asked));
  }
});

const same: readonly (readonly [string, string])[] = [
  ["db.example.com", "DB.Example.COM"],
  ["db.example.com", "db.example.com."],
  ["*.example.com", "*.EXAMPLE.com."],
  ["bücher.example", "xn--bcher-kva.example"],
  ["bücher.example", "BÜCHER.example"],
  ["bücher.example", "bu\u0308cher.example"],
  ["db.example.com", "\uff44\uff42.example.com"],
  ["db.example.com", "db\u3002example.com"],
  ["kelvin.example.com", "\u212aelvin.example.com"],
];

for (const [one, other] of same) {
  Deno.test(`two routes for ${JSON.stringify(one)} and ${JSON.stringify(other)} are an error`, () => {
    const route = (sni: string, port: number) => ({ sni, to: `127.0.0.1:${port}` });
    const result = staticConfig.safeParse({ routes: [route(one, 1), route(other, 2)] });
    assert.match(String(result.error), /is taken by routes\[0\] already/);
    const both = staticConfig.safeParse({ routes: [{ sni: [one, other], to: "127.0.0.1:1" }] });
    assert.match(String(both.error), /is given twice/);
    if (!one.startsWith("*")) assert.equal(canonicalNameFromConfig(one), canonicalNameFromConfig(other));
  });
}

const spellings = ["app.example.com", "APP.Example.COM", "app.example.com."];
const strays = ["app.example.com..", "x.app.example.com", "example.com", "app.example.com\0"];
const otherHosts = [
  "example.com",
  "app.example.com.evil.test",
  "app.example.com..",
  "xapp.example.com",
  "127.0.0.1",
  "",
];

Deno.test({
  name: "certificate and route of a name that is terminated are found by any spelling of it, and by no other",
  ignore: !hasProgram("openssl"),
  async fn() {
    const { material } = await certificateFor("App.Example.Com");
    await using service = startSource(REACHED);
    await using gateway = await staticPlane(
      [{ sni: "app.example.com.", terminate: true, to: service.target }],
      {
        certificates: [material],
      },
    );
    for (const spelling of spellings) {
      assert.match(await send(gateway, spelling, "hello"), /^reached$/, spelling);
    }
    await assertNobodys(gateway, strays);
    assert.equal(service.accepted, spellings.length);
  },
});

Deno.test({
  name: "a tunnel is found by any spelling of its name, and by no other, in SNI and in Host",
  ignore: !hasProgram("openssl"),
  async fn() {
    await using tunnels = await tunnelPlane("app");
    const get = (name: string, host: string) =>
      send(tunnels.plane, name, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    for (const spelling of spellings) {
      for (const host of [...spellings, "app.example.com:8443"]) {
        assert.match(await get(spelling, host), /^HTTP\/1\.1 200 OK/, `${spelling}, ${host}`);
      }
    }
    for (const host of otherHosts) {
      assert.match(await get("app.example.com", host), /^HTTP\/1\.1 4(?:00|21) /, `Host ${host}`);
    }
    await assertNobodys(tunnels.plane, strays);
  },
});

/** Sends `input` inside TLS for this name, and gives what comes back in it. */
async function send(gateway: TestPlane, serverName: string, input: string): Promise<string> {
  const { received, log } = await sClient({ hostname: "127.0.0.1", port: gateway.port }, {
    serverName,
    input,
  });
  return received || log;
}

async function assertNobodys(gateway: TestPlane, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const hello = inRecords(helloMessage({ extensions: [serverName(name)] }));
    assert.notEqual(alertIn(await exchange(gateway, hello)), undefined, name);
  }
}
