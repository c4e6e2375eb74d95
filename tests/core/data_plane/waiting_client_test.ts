import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { WatchedClient } from "../../../core/data_plane/watched_client.ts";
import type { Decision, Plugin } from "../../../core/plugin/contract.ts";
import { readToEnd, startEcho } from "../../support/echo.ts";
import { pipe } from "../../support/pipe.ts";
import { TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { HTTP as HTTP_TEXT } from "./clients.ts";
import { bytes, HELLO } from "./preface/samples.ts";

const HTTP = bytes(HTTP_TEXT);

/** A plugin that decides when it is told to, and says when it was called off. */
function slow(): Plugin & {
  readonly asked: Promise<void>;
  decide(decision: Decision): void;
  calledOff: boolean;
} {
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  const { promise, resolve: decide } = Promise.withResolvers<Decision>();
  const plugin = {
    asked,
    decide,
    calledOff: false,
    route(_: unknown, { signal }: { readonly signal: AbortSignal }) {
      signal.addEventListener("abort", () => plugin.calledOff = true);
      ask();
      return promise;
    },
  };
  return plugin;
}

Deno.test("a TLS client that leaves while the plugin decides ends its connection, and the plugin is called off", async () => {
  const plugin = slow();
  await using gateway = new TestPlane({ plugins: [plugin] });
  const client = await gateway.connect();
  await writeAll(client, HELLO);
  await plugin.asked;
  client.close();
  await until(() => gateway.plane.size === 0, { what: "the connection to end" });
  assert.ok(plugin.calledOff);
  assert.equal(gateway.counted("rejected_total", { reason: "client_closed" }), 1);
  plugin.decide({ kind: "reject", reason: "forbidden" });
});

Deno.test("a client that asked in plain text and ended its side still gets what the plugin decides", async () => {
  await using echo = startEcho();
  const plugin = slow();
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, HTTP);
  await plugin.asked;
  await client.closeWrite();
  await until(() => gateway.plane.patience.size === 0, { what: "the client to be watched" });
  plugin.decide({ kind: "forward", to: echo.target });
  assert.deepEqual(await readToEnd(client), HTTP);
});

Deno.test("what a client says while the plugin decides is passed on behind what it said before", async () => {
  await using echo = startEcho();
  const plugin = slow();
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, HTTP);
  await plugin.asked;
  await until(() => gateway.plane.patience.size === 0, { what: "the client to be watched" });
  await writeAll(client, HTTP);
  plugin.decide({ kind: "forward", to: echo.target });
  await writeAll(client, HTTP);
  await client.closeWrite();
  const all = await readToEnd(client);
  assert.equal(all.length, 3 * HTTP.length);
});

Deno.test("a watched client's bytes come out whole and in order, however they are read", async () => {
  const [outer, inner] = pipe();
  await writeAll(outer, Uint8Array.of(1, 2, 3, 4, 5));
  const watched = new WatchedClient(inner, () => {});
  const seen: number[] = [];
  const into = new Uint8Array(2);
  while (seen.length < 5) seen.push(...into.subarray(0, await watched.read(into) ?? assert.fail("ended")));
  await writeAll(outer, Uint8Array.of(6));
  await outer.closeWrite();
  for (let length; (length = await watched.read(into)) !== null;) seen.push(...into.subarray(0, length));
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6]);
  assert.equal(await watched.read(into), null, "and again");
});
