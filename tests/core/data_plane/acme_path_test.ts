import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { parseChallengeRequest } from "../../../core/data_plane/http_challenge.ts";
import type { Plugin } from "../../../core/plugin/contract.ts";
import { readToEnd, startEcho } from "../../support/echo.ts";
import { TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { ask, INTERNAL_ERROR, testCertificate, UNRECOGNIZED_NAME } from "./clients.ts";
import { bytes, HELLO } from "./preface/samples.ts";

const PATH = "/.well-known/acme-challenge/";
const REQUEST = `GET ${PATH}tok-en_1 HTTP/1.1\r\nHost: app.example.com\r\n\r\n`;

const requests = [
  { what: "a token", text: REQUEST, kind: "yes" },
  { what: "no token", text: `GET ${PATH} HTTP/1.1`, kind: "no" },
  { what: "a path below it", text: `GET ${PATH}a/b HTTP/1.1`, kind: "no" },
  { what: "a query", text: `GET ${PATH}a?b HTTP/1.1`, kind: "no" },
  { what: "what leads out of it", text: `GET ${PATH}../x HTTP/1.1`, kind: "no" },
  { what: "another method", text: `POST ${PATH}a HTTP/1.1`, kind: "no" },
  { what: "an absolute URL", text: `GET http://a.b${PATH}a HTTP/1.1`, kind: "no" },
  { what: "another path", text: "GET / HTTP/1.1", kind: "no" },
  { what: "an endless token", text: `GET ${PATH}${"a".repeat(257)}`, kind: "no" },
  { what: "a token that goes on", text: `GET ${PATH}${"a".repeat(256)}`, kind: "more" },
  { what: "nothing yet", text: "", kind: "more" },
] as const;
for (const { what, text, kind } of requests) {
  Deno.test(`parseChallengeRequest() answers ${kind} to ${what}`, () => {
    const parsed = parseChallengeRequest(bytes(text));
    assert.equal(parsed.kind, kind);
    if (parsed.kind === "yes") assert.equal(parsed.value, "tok-en_1");
  });
}

Deno.test("parseChallengeRequest() asks for more at every cut before the token's end", () => {
  const whole = bytes(REQUEST);
  const end = REQUEST.indexOf(" HTTP");
  for (let cut = 0; cut <= whole.length; cut++) {
    const parsed = parseChallengeRequest(whole.subarray(0, cut));
    assert.equal(parsed.kind, cut <= end ? "more" : "yes", String(cut));
    if (parsed.kind === "more") assert.ok(parsed.total > cut);
  }
});

const acme = { awaited: [], challenges: { "tok-en_1": "tok-en_1.thumb" } };

Deno.test("a challenge is answered on a listener for plain HTTP, before any plugin and in whatever pieces", async () => {
  const plugin: Plugin = { route: () => ({ kind: "reject", reason: "forbidden" }) };
  await using gateway = new TestPlane({ plugins: [plugin], kind: "http" });
  gateway.plane.useAcme(acme);
  for (const cut of [0, 5, 30, 36, 50]) {
    using client = await gateway.connect();
    await writeAll(client, bytes(REQUEST.slice(0, cut)));
    await writeAll(client, bytes(REQUEST.slice(cut)));
    const answer = new TextDecoder().decode(await readToEnd(client));
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\ntok-en_1\.thumb$/);
  }
});

const others = [
  { what: "an unknown token", request: REQUEST.replace("tok-en_1", "other"), isOurs: true },
  {
    what: "another path",
    request: "GET /.well-known/x HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
    isOurs: true,
  },
  { what: "a token that was withdrawn", request: REQUEST, isOurs: false },
];
for (const { what, request, isOurs } of others) {
  Deno.test(`whatever else is asked for goes its usual way, with all that was read: ${what}`, async () => {
    await using echo = startEcho();
    await using gateway = new TestPlane({
      plugins: [{ route: () => ({ kind: "forward", to: echo.target }) }],
      kind: "http",
    });
    gateway.plane.useAcme(acme);
    if (!isOurs) gateway.plane.useAcme({ awaited: [], challenges: {} });
    using client = await gateway.connect();
    for (const piece of [request.slice(0, 20), request.slice(20)]) await writeAll(client, bytes(piece));
    await client.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(client)), request);
  });
}

Deno.test("no challenge is answered on a listener for TLS", async () => {
  await using gateway = new TestPlane({});
  gateway.plane.useAcme(acme);
  assert.match(new TextDecoder().decode(await ask(gateway, bytes(REQUEST))), /^HTTP\/1\.1 404 /);
});

Deno.test("who drips a request for a challenge is cut off as any other stranger", async () => {
  await using gateway = new TestPlane({ kind: "http", limits: { prefaceTimeoutMs: 100 } });
  gateway.plane.useAcme(acme);
  using client = await gateway.connect();
  await writeAll(client, bytes(REQUEST.slice(0, 40)));
  assert.equal(await client.read(new Uint8Array(1)), null);
  assert.equal(gateway.counted("rejected_total", { reason: "preface_timeout" }), 1);
});

// --- Clients that wait for a certificate

const terminating: Plugin = {
  route: ({ terminated }) => terminated ? { kind: "reject", reason: "forbidden" } : { kind: "terminate" },
};
const awaiting = (...awaited: string[]) => ({ awaited, challenges: {} });

Deno.test("a client waits for the certificate of its name, others go on, and a stray name does not wait", async () => {
  const { authority, material } = await testCertificate();
  await using gateway = new TestPlane({ plugins: [terminating] });
  const settings = gateway.plane.settings;
  gateway.plane.configure({ ...settings, acme: awaiting("app.example.com", "*.wild.example.com") });
  const hello = async (hostname: string) => {
    const tls = await Deno.startTls(await gateway.connect(), { hostname, caCerts: [authority.certificate] });
    try {
      await tls.handshake();
    } finally {
      tls.close();
    }
  };
  const waiting = Promise.all([hello("app.example.com"), hello("app.example.com")]);
  await until(() => gateway.plane.awaited.size === 2, { what: "both to wait" });
  assert.deepEqual(gateway.plane.rows(9).map(({ state }) => state), ["certificate", "certificate"]);
  await assert.rejects(hello("stray.example.com"), /UnrecognisedName/i);
  gateway.plane.useAcme(awaiting("app.example.com")); // another name's certificate has come
  assert.equal(gateway.plane.awaited.size, 2);
  gateway.plane.configure({ ...settings, certificates: [material], acme: awaiting() });
  await waiting;
});

Deno.test("when there will be no certificate, who waits is told so; who leaves waits no longer", async () => {
  await using gateway = new TestPlane({ plugins: [terminating] });
  gateway.plane.useAcme(awaiting("*.example.com"));
  const gone = await gateway.connect();
  await writeAll(gone, HELLO);
  await until(() => gateway.plane.awaited.size === 1, { what: "a client to wait" });
  gone.close();
  await until(() => gateway.plane.awaited.size === 0, { what: "it to leave" });
  await until(() => gateway.plane.size === 0, { what: "its end" });
  assert.equal(gateway.counted("rejected_total", { reason: "client_closed" }), 1);
  assert.equal(gateway.counted("rejected_total", { reason: "unavailable" }), 0);
  const answer = ask(gateway, HELLO);
  await until(() => gateway.plane.awaited.size === 1, { what: "another one to wait" });
  gateway.plane.useAcme(awaiting());
  assert.deepEqual([...await answer], UNRECOGNIZED_NAME);
});

Deno.test("so many clients wait and no more, and a gateway that ends leaves none waiting", async () => {
  const gateway = new TestPlane({ plugins: [terminating], limits: { maxConnections: 2000 } });
  const names = Array.from({ length: 10 }, (_, i) => `n${i}.example.org`);
  gateway.plane.useAcme(awaiting("app.example.com", "*.example.com", ...names));
  const never = new AbortController().signal;
  const wait = (name: string, count: number) =>
    Array.from({ length: count }, () => gateway.plane.awaited.wait(name, never));
  const waits = wait("app.example.com", 100);
  assert.equal(await gateway.plane.awaited.wait("app.example.com", never), "too_many");
  for (const name of names) waits.push(...wait(name, 90));
  assert.equal(gateway.plane.awaited.size, 1000);
  assert.deepEqual([...await ask(gateway, HELLO)], INTERNAL_ERROR);
  assert.equal(gateway.counted("rejected_total", { reason: "over_limit" }), 1);
  await gateway[Symbol.asyncDispose]();
  assert.ok((await Promise.all(waits)).every((how) => how === "ready"));
  assert.equal(gateway.plane.awaited.size, 0);
});
