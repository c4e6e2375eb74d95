import assert from "node:assert/strict";
import { refusalBytes, type RefusalReason, refuse } from "../../../core/data_plane/reject.ts";
import { writeAll } from "../../../core/byte_stream.ts";
import { readToEnd, serveTcp } from "../../support/echo.ts";
import { pipe } from "../../support/pipe.ts";

/** For every reason: the TLS alert's number, the HTTP status and PostgreSQL's SQLSTATE. */
const TABLE: Readonly<Record<RefusalReason, readonly [alert: number, http: string, sqlState: string]>> = {
  no_route: [112, "404 Not Found", "28000"],
  unknown_name: [112, "404 Not Found", "28000"],
  no_server_name: [112, "404 Not Found", "28000"],
  forbidden: [49, "403 Forbidden", "28000"],
  bad_certificate: [42, "403 Forbidden", "28000"],
  unavailable: [80, "502 Bad Gateway", "08006"],
  connect_failed: [80, "502 Bad Gateway", "08006"],
  plugin_failed: [80, "502 Bad Gateway", "08006"],
  connect_timeout: [80, "504 Gateway Timeout", "08006"],
  timeout: [80, "504 Gateway Timeout", "08006"],
  over_limit: [80, "503 Service Unavailable", "53300"],
  max_connections: [80, "503 Service Unavailable", "53300"],
  max_connections_per_source: [80, "503 Service Unavailable", "53300"],
  max_accept_rate_per_source: [80, "503 Service Unavailable", "53300"],
  not_supported: [40, "501 Not Implemented", "0A000"],
  malformed_client_hello: [50, "400 Bad Request", "08P01"],
  malformed_postgres: [50, "400 Bad Request", "08P01"],
  postgres_early_bytes: [50, "400 Bad Request", "08P01"],
  proxy_protocol_refused: [50, "400 Bad Request", "08P01"],
  preface_too_large: [50, "400 Bad Request", "08P01"],
  client_closed: [50, "400 Bad Request", "08P01"],
};

const decoder = new TextDecoder();

/** The fields of an ErrorResponse, by their letter. */
function readErrorResponse(packet: Uint8Array): Map<string, string> {
  assert.equal(packet[0], "E".charCodeAt(0));
  assert.equal(new DataView(packet.buffer, packet.byteOffset).getUint32(1), packet.length - 1);
  const fields = decoder.decode(packet.subarray(5)).split("\0");
  assert.deepEqual(fields.splice(-2), ["", ""], "ends with two NULs");
  return new Map(fields.map((field) => [field.slice(0, 1), field.slice(1)]));
}

for (const [name, [alert, http, sqlState]] of Object.entries(TABLE)) {
  const reason = name as RefusalReason;

  Deno.test(`${reason} in TLS is the fatal alert ${alert}`, () => {
    assert.deepEqual([...refusalBytes("tls", reason)], [21, 3, 3, 0, 2, 2, alert]);
  });

  Deno.test(`${reason} in HTTP is ${http}, with a body of the length that it says`, () => {
    const [head = "", body = ""] = decoder.decode(refusalBytes("http", reason)).split("\r\n\r\n");
    const [status, ...headers] = head.split("\r\n");
    assert.equal(status, `HTTP/1.1 ${http}`);
    assert.deepEqual(headers.map((line) => line.toLowerCase()), [
      "content-type: text/plain; charset=utf-8",
      `content-length: ${new TextEncoder().encode(body).length}`,
      "cache-control: no-store",
      "connection: close",
    ]);
    assert.match(body, /^[^\n]+\n$/);
  });

  Deno.test(`${reason} in PostgreSQL is a FATAL ${sqlState}`, () => {
    const fields = readErrorResponse(refusalBytes("postgres", reason));
    assert.deepEqual([fields.get("S"), fields.get("V"), fields.get("C")], ["FATAL", "FATAL", sqlState]);
    assert.ok(fields.get("M"));
  });

  for (const layer of ["ssh", "other"] as const) {
    Deno.test(`${reason} in ${layer} is one line of plain text`, () => {
      assert.match(decoder.decode(refusalBytes(layer, reason)), /^[\x20-\x7e]+\r\n$/);
    });
  }
}

Deno.test("PostgreSQL without TLS is told to use sslmode=require", () => {
  const message = readErrorResponse(refusalBytes("postgres", "no_server_name")).get("M");
  assert.equal(message, "This gateway routes by TLS server name; use sslmode=require");
});

Deno.test("a refused client has its answer and a FIN, and time to take it until it has left", async () => {
  const [client, stream] = pipe();
  const refused = refuse(stream, refusalBytes("other", "no_route"));
  const answer = await readToEnd(client);
  assert.deepEqual(answer, refusalBytes("other", "no_route"));
  assert.equal(stream.closed, false, "closing now could reset what is still on its way");
  await client.closeWrite();
  await refused;
  assert.equal(stream.closed, false, "closing is left to the owner");
});

Deno.test("a refused client that never stops sending is cut off", async () => {
  const [client, stream] = pipe();
  const refused = refuse(stream, Uint8Array.of(1)).finally(() => stream.close());
  let sent = 0;
  const sending = (async () => {
    for (;;) sent += await client.write(new Uint8Array(1000));
  })();
  await assert.rejects(sending, Deno.errors.BrokenPipe);
  await refused;
  assert.ok(sent <= 3 * 65_536, `${sent} bytes were taken`);
});

Deno.test("a client that is gone before its answer is no error", async () => {
  const [client, stream] = pipe();
  client.abort();
  await refuse(stream, Uint8Array.of(1));
});

for (const bytes of [0, 1000, 50_000, 5_000_000]) {
  Deno.test(`over TCP the answer arrives whole while the client sends ${bytes} bytes more`, async () => {
    const answer = refusalBytes("http", "unknown_name");
    await using server = serveTcp((connection) => refuse(connection, answer));
    using client = await Deno.connect(server.address);
    await writeAll(client, new Uint8Array(bytes)).catch((error) => {
      assert.ok(
        error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe,
        `${error}`,
      );
    });
    const seen = new Uint8Array(answer.length);
    for (let at = 0; at < seen.length;) {
      at += await client.read(seen.subarray(at)) ?? assert.fail("cut short");
    }
    assert.deepEqual(seen, answer);
  });
}
