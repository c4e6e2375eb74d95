import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../../../core/byte_stream.ts";
import type { StreamHandler } from "../../../../../plugins/ws-agent/agent/library/mod.ts";
import { until } from "../../../../support/until.ts";
import { encode, readUntil, type Started, startLibrary } from "./start.ts";

function serve(handle: StreamHandler, protocol: "tcp" | "tls" = "tcp"): Promise<Started> {
  return startLibrary([{ name: "s", protocol, handle }]);
}

for (const protocol of ["tcp", "tls"] as const) {
  Deno.test(`a ${protocol} service that is a function: bytes go both ways, and half-close is kept`, async () => {
    let seen = "";
    await using started = await serve(async ({ readable, writable }, { client, id }) => {
      seen = `${client.address}:${client.port} ${id}`;
      const text = await new Response(readable).text(); // up to the client's FIN
      const writer = writable.getWriter();
      await writer.write(encode(text.toUpperCase()));
      await writer.close();
    }, protocol);
    const stream = await started.send("s", "ab");
    await writeAll(stream, encode("cd"));
    await stream.closeWrite();
    assert.equal(await readUntil(stream), "ABCD");
    closeQuietly(stream);
    assert.equal(seen, "203.0.113.9:4711 c-1");
  });
}

Deno.test("a function that returns has sent its end, and all before it", async () => {
  const size = 1 << 20;
  await using started = await serve(async ({ writable }) => {
    const writer = writable.getWriter();
    await writer.write(new Uint8Array(size).fill(0x61));
  });
  const stream = await started.send("s", "ignored");
  let wasReset = false;
  stream.onReset = () => wasReset = true;
  assert.equal((await readUntil(stream)).length, size);
  await writeAll(stream, encode("ignored, too"));
  await started.session.yamux.ping();
  assert.ok(!wasReset, "a reset could overtake what is still on its way to the public");
  await stream.closeWrite();
  closeQuietly(stream);
});

for (const how of ["returns", "closes it, too"]) {
  Deno.test(`a function that waits for none of its writes, and ${how}, has sent them all`, async () => {
    await using started = await serve(({ writable }) => {
      const writer = writable.getWriter();
      for (const text of ["a", "b", "c"]) void writer.write(encode(text.repeat(100_000)));
      if (how !== "returns") void writer.close();
      return Promise.resolve();
    });
    const stream = await started.send("s", "");
    const seen = await readUntil(stream);
    assert.equal(seen.length, 300_000);
    assert.equal(seen.at(-1), "c");
    closeQuietly(stream);
  });
}

Deno.test("4 MiB come back from readable.pipeTo(writable)", async () => {
  const size = 4 << 20;
  await using started = await serve(({ readable, writable }) => readable.pipeTo(writable));
  const stream = await started.send("s", "");
  const sending = writeAll(stream, new Uint8Array(size).fill(0x61)).then(() => stream.closeWrite());
  assert.equal((await readUntil(stream)).length, size);
  await sending;
  closeQuietly(stream);
});

Deno.test("a function that throws resets the connection, and the program is told", async () => {
  await using started = await serve(() => Promise.reject(new Error("a fault")));
  await assert.rejects(readUntil(await started.send("s", "x")), Deno.errors.ConnectionReset);
  const event = await until(() => started.events.find(({ kind }) => kind === "handler_failed"), {
    what: "event",
  });
  assert.ok(event.kind === "handler_failed" && event.error instanceof Error && event.reason === "a fault");
});

Deno.test("aborting the writable resets the connection", async () => {
  await using started = await serve(({ writable }) => writable.abort());
  await assert.rejects(readUntil(await started.send("s", "x")), Deno.errors.ConnectionReset);
});

Deno.test("a client that resets fails the reads and aborts the signal", async () => {
  const aborted = Promise.withResolvers<void>(), failed = Promise.withResolvers<unknown>();
  await using started = await serve(async ({ readable }, { signal }) => {
    signal.addEventListener("abort", () => aborted.resolve());
    await new Response(readable).text().catch(failed.resolve);
  });
  const stream = await started.send("s", "x");
  await until(() => started.agent.status.streams === 1, { what: "the stream" });
  stream.reset();
  await aborted.promise;
  assert.ok(await failed.promise instanceof Deno.errors.ConnectionReset);
  await until(() => started.agent.status.streams === 0, { what: "its end" });
});

Deno.test("a reader with memory of its own sees the end, too", async () => {
  const lengths: number[] = [];
  await using started = await serve(async ({ readable }) => {
    const reader = readable.getReader({ mode: "byob" });
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(8));
      if (done) return;
      lengths.push(value.length);
    }
  });
  const stream = await started.send("s", "x".repeat(20));
  await stream.closeWrite();
  assert.equal(await readUntil(stream), "");
  closeQuietly(stream);
  assert.deepEqual(lengths.reduce((sum, length) => sum + length), 20);
});

Deno.test("a stop lets functions finish within the grace, and ends those that do not", async () => {
  const begun = Promise.withResolvers<void>(), gone = Promise.withResolvers<void>();
  await using started = await serve((_, { signal }) => {
    begun.resolve();
    return new Promise((resolve) =>
      signal.addEventListener("abort", () => {
        gone.resolve();
        resolve();
      })
    );
  });
  await started.send("s", "x");
  await begun.promise;
  assert.equal(await started.agent.stop({ graceMs: 50 }), false);
  await gone.promise;
  assert.deepEqual(await started.agent.ended, { kind: "stopped" });
});
