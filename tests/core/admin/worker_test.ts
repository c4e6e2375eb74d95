import assert from "node:assert/strict";
import type { BoundAddress } from "../../../core/admin/contract.ts";
import { startAdmin } from "../../../core/admin/server.ts";
import { GatewayError } from "../../../core/errors.ts";
import { createLog, type LogEvent, SILENT_LOG } from "../../../core/log.ts";
import { exchange, fakeGateway, HAS_WORKERS, openAdmin, request } from "./harness.ts";
import { EndingServers } from "../../support/ending_servers.ts";
import { until } from "../../support/until.ts";

Deno.test("start() answers with the real port, and refuses an address in use by name", async () => {
  await using admin = await openAdmin();
  const { hostname, port } = admin.address;
  assert.equal(hostname, "127.0.0.1");
  assert.notEqual(port, 0);
  await assert.rejects(openAdmin({}, { port }), (error) => {
    assert.ok(error instanceof GatewayError);
    assert.equal(error.code, "address-in-use");
    const message =
      `Cannot listen on "127.0.0.1:${port}" (admin): address in use; stop what holds it or set admin.address`;
    assert.equal(error.message, message);
    return true;
  });
});

Deno.test("start() names an address that is none of this machine's", async () => {
  await assert.rejects(
    openAdmin({}, { hostname: "203.0.113.1", token: "t" }),
    (error) =>
      error instanceof GatewayError && error.code === "listen-failed" &&
      /203\.0\.113\.1:0/.test(error.message),
  );
});

for (const hostname of ["127.0.0.1", "localhost", "::1"]) {
  Deno.test(`the admin side listens on ${hostname} without a token`, async () => {
    await using admin = await openAdmin({}, { hostname });
    const host = hostname === "::1" ? `[::1]:${admin.address.port}` : `${hostname}:${admin.address.port}`;
    assert.equal((await request(admin.address, { path: "/api/v1/status", host })).status, 200);
  });
}

Deno.test("reload() puts another token in force for the next request", async () => {
  await using admin = await openAdmin({}, { token: "first" });
  const status = async (token: string) =>
    (await request(admin.address, { path: "/api/v1/status", headers: { authorization: `Bearer ${token}` } }))
      .status;
  assert.equal(await status("first"), 200);
  await admin.reload({ token: "second" });
  assert.deepEqual([await status("first"), await status("second")], [401, 200]);
  await admin.reload({});
  assert.equal(await status("any"), 200);
});

Deno.test("stop() lets a request in progress finish, takes no further one, and may be called again", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<readonly []>();
  await using admin = await openAdmin({
    routes: () => {
      asked.resolve();
      return answer.promise;
    },
  });
  const slow = request(admin.address, { path: "/api/v1/routes" });
  await asked.promise;
  let isStopped = false;
  const stopped = admin.stop().then(() => isStopped = true);
  await until(() => refused(admin.address), { what: "the listener to be gone" });
  await assert.rejects(until(() => isStopped, { what: "stop()", deadlineMs: 100 }));
  answer.resolve([]);
  assert.equal((await slow).status, 200);
  await stopped;
  await admin.stop();
});

async function refused(address: BoundAddress): Promise<boolean> {
  try {
    (await Deno.connect(address)).close();
    return false;
  } catch (error) {
    return error instanceof Deno.errors.ConnectionRefused;
  }
}

Deno.test("stop() does not wait for a client that has asked for nothing", async () => {
  await using admin = await openAdmin();
  const idle = exchange(admin.address, "GET / HTTP/1.1\r\nHo").catch(() => "");
  await admin.stop();
  await idle;
});

Deno.test("a listener that stopped accepting is back at its address, says so, and can be stopped", async () => {
  const events: LogEvent[] = [];
  const log = createLog("admin", "debug", (event) => events.push(event));
  using servers = new EndingServers();
  const admin = startAdmin({ hostname: "127.0.0.1", port: 0 }, fakeGateway(), log);
  await servers.end();
  assert.equal(await refused(admin.address), true);
  await until(async () => !await refused(admin.address), { what: "the listener" });
  assert.equal((await request(admin.address, { path: "/healthz" })).status, 200);
  assert.deepEqual(events.map(({ event, fields }) => [event, fields["reason"]]), [
    ["admin_listening", undefined],
    ["accept_failed", "Too many open files"],
  ]);
  await servers.end(); // it is about to come back, and must not
  await admin.stop();
});

Deno.test("a listener that may not be opened again is an error of its worker, which is started anew for it", async () => {
  const errors: unknown[] = [];
  const hear = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  addEventListener("error", hear);
  try {
    using servers = new EndingServers();
    const admin = startAdmin({ hostname: "127.0.0.1", port: 0 }, fakeGateway(), SILENT_LOG);
    servers.refuse = new Deno.errors.NotCapable("Requires net access");
    await servers.end();
    await until(() => errors.length > 0, { what: "the error" });
    assert.match(String(errors), /Requires net access/);
    await admin.stop();
  } finally {
    removeEventListener("error", hear);
  }
});

Deno.test({
  name: "the worker tells the supervisor what happens, as log events",
  ignore: !HAS_WORKERS,
  fn: async () => {
    await using admin = await openAdmin({ routes: () => Promise.reject(new Error("of some kind")) });
    await request(admin.address, { path: "/api/v1/routes" });
    await until(() => admin.events.length > 1, { what: "two log lines" });
    const words = admin.events.map(({ from, event }) => `${from} ${event}`);
    assert.deepEqual(words, ["admin admin_listening", "admin admin_request_failed"]);
    assert.equal(admin.events[1]?.fields.error, "of some kind");
  },
});
