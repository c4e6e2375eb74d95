import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { answerUpgrade } from "../../../../plugins/ws-agent/websocket/answer_upgrade.ts";
import { connectWebSocket } from "../../../../plugins/ws-agent/websocket/connect.ts";
import { WebSocketBytes } from "../../../../plugins/ws-agent/websocket/web_socket_bytes.ts";
import { serveTcp } from "../../../support/echo.ts";
import { granted } from "../../../support/permissions.ts";
import { numbered } from "./frames.ts";
import type * as ws from "./ws.d.ts";

// Against another implementation, the npm package `ws`. It reads the environment while it is imported.
const ignore = !granted("env", "read");
const load = async (): Promise<typeof ws> => await import("ws") as unknown as typeof ws;

const SIZES = [1, 125, 126, 65_535, 65_536, 300_000];
const TOTAL = SIZES.reduce((sum, size) => sum + size, 0);

/** Our server: echoes until the peer closes, then closes. */
function serveEcho() {
  return serveTcp(async (connection) => {
    const buffer = new Uint8Array(65_536);
    let head = "";
    while (!head.endsWith("\r\n\r\n")) {
      const read = await connection.read(buffer);
      if (read === null) return;
      head += new TextDecoder().decode(buffer.subarray(0, read));
    }
    const [line = "", ...lines] = head.split("\r\n");
    const [method = "", target = "", version = ""] = line.split(" ");
    const header = (name: string) =>
      lines.find((one) => one.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim();
    const answer = answerUpgrade({ method, target, version, header }, ["postern.v1"]);
    await writeAll(connection, answer.response);
    if (answer.kind === "refused") return;
    const socket = new WebSocketBytes(connection, { role: "server" });
    for (let read; (read = await socket.read(buffer)) !== null;) {
      await writeAll(socket, buffer.subarray(0, read));
    }
    await socket.closeWrite();
    await connection.closeWrite();
  });
}

Deno.test("a client of ws talks to our server: bytes, fragments, pings, close", { ignore }, async () => {
  const { WebSocket } = await load();
  await using server = serveEcho();
  const client = new WebSocket(`ws://${server.target}/tunnel/v1`, ["postern.v1"]); // offers compression
  const received: Uint8Array[] = [], pongs: string[] = [];
  const complete = Promise.withResolvers<void>(), closed = Promise.withResolvers<[number, string]>();
  client.on("error", closed.reject);
  client.on("close", (code, reason) => closed.resolve([code, new TextDecoder().decode(reason)]));
  client.on("pong", (data) => pongs.push(new TextDecoder().decode(data)));
  let length = 0;
  client.on("message", (data, isBinary) => {
    assert.ok(isBinary);
    received.push(data);
    if ((length += data.length) === TOTAL + 6) complete.resolve();
  });
  client.on("open", () => {
    client.ping("ping");
    for (const size of SIZES) client.send(numbered(size));
    client.send(numbered(1), { binary: true, fin: false });
    client.send(numbered(2), { binary: true, fin: false });
    client.send(numbered(3), { binary: true, fin: true });
  });
  await Promise.race([complete.promise, closed.promise]);
  assert.equal(client.protocol, "postern.v1");
  assert.equal(client.extensions, "");
  const expected = [...SIZES, 1, 2, 3].map((size) => [...numbered(size)]).flat();
  assert.deepEqual(received.map((data) => [...data]).flat(), expected);
  assert.deepEqual(pongs, ["ping"]);
  client.close(1001, "leaving");
  assert.deepEqual(await closed.promise, [1001, ""]);
});

Deno.test("a client of ws that sends text is told why it is closed", { ignore }, async () => {
  const { WebSocket } = await load();
  await using server = serveTcp(async (connection) => {
    const buffer = new Uint8Array(65_536);
    const head = new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
    const header = (name: string) => new RegExp(`^${name}: (.*)\r$`, "im").exec(head)?.[1];
    const answer = answerUpgrade({ method: "GET", target: "/", version: "HTTP/1.1", header }, []);
    await writeAll(connection, answer.response);
    const socket = new WebSocketBytes(connection, { role: "server" });
    await assert.rejects(socket.read(buffer), { name: "WebSocketFault", code: 1003 });
    socket.close();
  });
  const client = new WebSocket(`ws://${server.target}/`, []);
  const closed = Promise.withResolvers<[number, string]>();
  client.on("error", closed.reject);
  client.on("close", (code, reason) => closed.resolve([code, new TextDecoder().decode(reason)]));
  client.on("open", () => client.send("hello"));
  assert.deepEqual(await closed.promise, [1003, "Text frame: only binary ones are spoken here"]);
});

Deno.test(
  "our client talks to a server of ws: bytes, pings, close from either side",
  { ignore },
  async () => {
    const { WebSocketServer } = await load();
    for (const whoCloses of ["client", "server"]) {
      const server = new WebSocketServer({
        port: 0,
        host: "127.0.0.1",
        perMessageDeflate: true,
        handleProtocols: () => "postern.v1",
      });
      await new Promise<void>((resolve) => server.on("listening", resolve));
      const closed = Promise.withResolvers<number>(), pong = Promise.withResolvers<string>();
      server.on("connection", (socket) => {
        socket.on("error", closed.reject);
        socket.on("message", (data) => socket.send(data));
        socket.on("pong", (data) => {
          pong.resolve(new TextDecoder().decode(data));
          if (whoCloses === "server") socket.close(1000, "done");
        });
        socket.on("close", closed.resolve);
        socket.ping("are you there");
      });
      const { port } = server.address();
      const connection = await Deno.connect({ hostname: "127.0.0.1", port });
      const client = await connectWebSocket(connection, {
        host: `127.0.0.1:${port}`,
        path: "/tunnel/v1",
        protocol: "postern.v1",
      });
      const data = numbered(500_000);
      const received: number[] = [];
      const reading = (async () => {
        const buffer = new Uint8Array(100_000);
        for (let read; (read = await client.read(buffer)) !== null;) {
          received.push(
            ...buffer.subarray(0, read),
          );
        }
      })();
      await writeAll(client, data.subarray(0, whoCloses === "client" ? data.length : 0));
      assert.equal(await pong.promise, "are you there");
      if (whoCloses === "client") await client.closeWrite();
      await reading;
      if (whoCloses === "server") await client.closeWrite();
      if (whoCloses === "client") assert.deepEqual(Uint8Array.from(received), data);
      client.close();
      assert.equal(await closed.promise, 1000);
      await new Promise<void>((resolve) => server.close(resolve));
    }
  },
);
