import assert from "node:assert/strict";
import { closeQuietly } from "../../../../../core/byte_stream.ts";
import { granted } from "../../../../support/permissions.ts";
import { FakeGateway } from "../fake_gateway.ts";
import { encode, readUntil } from "./start.ts";
import { writeAll } from "../../../../../core/byte_stream.ts";

Deno.test({
  name: "an agent whose services are functions needs no permission but for its gateway's address",
  ignore: !granted("read", "env", "sys", "run", "write", "ffi"),
  async fn() {
    await using gateway = new FakeGateway();
    const worker = new Worker(new URL("./confined_worker.ts", import.meta.url), {
      type: "module",
      deno: {
        permissions: {
          net: [`127.0.0.1:${gateway.port}`],
          read: false,
          write: false,
          env: false,
          run: false,
          sys: false,
          ffi: false,
          import: false,
        },
      },
    });
    const message = () => new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
    try {
      worker.postMessage({ port: gateway.port });
      const session = await gateway.registered(0, 3);
      const http = await session.open("http");
      await writeAll(
        http,
        encode("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"),
      );
      assert.match(await readUntil(http), /^HTTP\/1\.1 200 OK[^]*2\r\nhi\r\n0\r\n\r\n$/);
      closeQuietly(http);
      const tcp = await session.open("tcp");
      await writeAll(tcp, encode("ping"));
      await tcp.closeWrite();
      assert.equal(await readUntil(tcp), "ping");
      closeQuietly(tcp);
      const told = message();
      await assert.rejects(readUntil(await session.open("else")), Deno.errors.ConnectionReset);
      assert.equal(await told, "Not among the targets that this agent may connect to");
      const stopped = message();
      worker.postMessage("stop");
      assert.equal(await stopped, "stopped");
    } finally {
      worker.terminate();
    }
  },
});
