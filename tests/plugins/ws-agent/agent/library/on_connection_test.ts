import assert from "node:assert/strict";
import { closeQuietly } from "../../../../../core/byte_stream.ts";
import type {
  AcceptConnection,
  PublicConnection,
} from "../../../../../plugins/ws-agent/agent/library/mod.ts";
import { Admission } from "../../../../../plugins/ws-agent/agent/in_process/admission.ts";
import { readToEnd, startEcho } from "../../../../support/echo.ts";
import { readUntil, startLibrary } from "./start.ts";

const REQUEST = "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n";

const CASES: readonly {
  readonly name: string;
  readonly accept: AcceptConnection;
  readonly isServed: boolean;
  readonly fails?: boolean;
}[] = [
  { name: "true", accept: () => true, isServed: true },
  { name: "true, later", accept: () => Promise.resolve(true), isServed: true },
  { name: "false", accept: () => false, isServed: false },
  { name: "false, later", accept: () => Promise.resolve(false), isServed: false },
  { name: "nothing", accept: (() => {}) as unknown as AcceptConnection, isServed: false },
  { name: "an exception", accept: () => assert.fail("no"), isServed: false, fails: true },
  { name: "a rejection", accept: () => Promise.reject(new Error("no")), isServed: false, fails: true },
];

for (const { name, accept, isServed, fails = false } of CASES) {
  Deno.test(`onConnection: ${name} ${isServed ? "serves" : "refuses"}, whatever serves it`, async () => {
    await using echo = startEcho();
    let served = 0;
    await using started = await startLibrary([
      { name: "http", protocol: "http", fetch: () => new Response(String(++served)) },
      { name: "tcp", protocol: "tcp", handle: ({ readable, writable }) => readable.pipeTo(writable) },
      { name: "target", protocol: "tcp", target: echo.target },
    ], { onConnection: accept });
    const http = await started.send("http", REQUEST);
    assert.match(await readUntil(http), isServed ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 403 Forbidden\r\n/);
    closeQuietly(http);
    for (const service of ["tcp", "target"]) {
      const stream = await started.send(service, "ping");
      if (!isServed) await assert.rejects(readUntil(stream), Deno.errors.ConnectionReset);
      else {
        await stream.closeWrite();
        assert.equal(await readUntil(stream), "ping");
        closeQuietly(stream);
      }
    }
    assert.equal(served, isServed ? 1 : 0);
    assert.equal(started.events.filter(({ kind }) => kind === "handler_failed").length, fails ? 3 : 0);
  });
}

Deno.test("onConnection is told which service, which connection, and whose", async () => {
  const asked: PublicConnection[] = [];
  await using started = await startLibrary([
    { name: "tcp", protocol: "tcp", handle: () => Promise.resolve() },
  ], {
    onConnection: (connection) => asked.push(connection) === 1,
  });
  const stream = await started.session.open("tcp", { name: "tcp.example.com" });
  await readToEnd(stream);
  closeQuietly(stream);
  assert.deepEqual(asked, [{
    id: "c-1",
    service: "tcp",
    protocol: "tcp",
    client: { address: "203.0.113.9", port: 4711 },
    destination: { address: "198.51.100.1", port: 443 },
    hostname: "tcp.example.com",
  }]);
});

Deno.test("an answer that does not come refuses in time, and a client that leaves is not waited for", async () => {
  const connection = {} as PublicConnection;
  const faults: unknown[] = [];
  const failed = (error: unknown) => faults.push(error);
  const admission = new Admission(() => new Promise(() => {}), 20);
  assert.equal(await admission.admits(connection, failed, new AbortController().signal), false);
  assert.match(String(faults[0]), /did not answer in time/);
  admission.close();

  const patient = new Admission(() => new Promise(() => {}), 60_000);
  const gone = new AbortController();
  const answer = patient.admits(connection, failed, gone.signal);
  gone.abort();
  assert.equal(await answer, false);
  assert.equal(faults.length, 1);
  patient.close();
});
