import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { readToEnd, serveTcp } from "../support/echo.ts";
import { forwardAll, TestPlane } from "../support/plane.ts";

for (const bytes of [300, 100_000]) {
  Deno.test(`an answer of ${bytes} bytes from an upstream that takes no more of the upload arrives`, async () => {
    await using upstream = serveTcp(async (connection) => {
      await connection.read(new Uint8Array(1024));
      await writeAll(connection, new Uint8Array(bytes).fill(7));
      // Closing with the upload unread resets the connection, as a server does that answers 413.
    });
    await using plane = new TestPlane({ plugins: [forwardAll(upstream.address.port)] });
    using client = await plane.connect();
    await writeAll(client, new TextEncoder().encode("POST / HTTP/1.1\r\n"));
    const uploading = (async () => {
      for (;;) await writeAll(client, new Uint8Array(64 * 1024));
    })().catch(() => {}); // it ends when the gateway closes
    const answer = await readToEnd(client);
    assert.equal(answer.length, bytes);
    await uploading;
  });
}
