import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { readToEnd } from "../support/echo.ts";
import { pipe } from "../support/pipe.ts";

for (const carry of [1, 2, 3, 7, 1000]) {
  Deno.test(`writeAll() sends everything when a write takes ${carry} bytes`, async () => {
    const [near, far] = pipe({ carry: () => carry, capacity: 11 });
    const data = Uint8Array.from({ length: 500 }, (_, i) => i * 7);
    const [arrived] = await Promise.all([
      readToEnd(far),
      writeAll(near, data).then(() => near.closeWrite()),
    ]);
    assert.deepEqual(arrived, data);
  });
}

Deno.test("writeAll() of nothing writes nothing", async () => {
  const [near] = pipe();
  near.close();
  await writeAll(near, new Uint8Array());
});

Deno.test("writeAll() rejects with what the write rejects with", async () => {
  const [near, far] = pipe({ capacity: 4 });
  const writing = writeAll(near, new Uint8Array(10));
  far.abort();
  await assert.rejects(writing, Deno.errors.ConnectionReset);
});

Deno.test("closeQuietly() passes over what is closed already, and over nothing at all", () => {
  const [near] = pipe();
  closeQuietly(near);
  closeQuietly(near);
  closeQuietly(undefined);
  assert.ok(near.closed);
});

Deno.test("closeQuietly() closes a connection of the runtime, and does so without an error when it is closed", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [near, far] = await Promise.all([Deno.connect({ port: listener.addr.port }), listener.accept()]);
  let errors = 0;
  const watched = Object.defineProperty(near, "close", { value: () => errors++ });
  closeQuietly(watched);
  assert.equal(await far.read(new Uint8Array(1)), null);
  closeQuietly(watched);
  assert.equal(errors, 0);
  far.close();
});

Deno.test("closeQuietly() keeps quiet about nothing else", () => {
  const broken = {
    close() {
      throw new RangeError("Something of our own doing");
    },
  };
  assert.throws(() => closeQuietly(broken), RangeError);
});
