import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { createAuthority } from "./certificates.ts";

/** How the edge answers: by bringing bytes to the service, or as Cloudflare Access does when it does not let in. */
export type EdgeAnswer = "relay" | "forbidden" | "login";

/** Stands in for Cloudflare's edge with Access in front of one TCP service: TLS, then a WebSocket a connection. */
export interface AccessEdge extends AsyncDisposable {
  /** For `--hostname`. */
  readonly url: string;
  /** PEM of the CA that its certificate is from. */
  readonly ca: string;
  /** The headers of every request so far. */
  readonly requests: readonly Headers[];
  answer: EdgeAnswer;
}

/** @param target `host:port` of the service behind it. */
export async function startAccessEdge(target: string): Promise<AccessEdge> {
  const authority = await createAuthority("Edge CA");
  const { certificate, key } = await authority.issue({ addresses: ["127.0.0.1"] });
  const requests: Headers[] = [];
  const relays = new Set<Promise<void>>();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: certificate,
    key,
    onListen() {},
    handler(request) {
      requests.push(new Headers(request.headers)); // which are gone once it is a WebSocket
      if (edge.answer === "forbidden") return new Response("forbidden", { status: 403 });
      if (edge.answer === "login" || request.headers.get("upgrade") !== "websocket") {
        return new Response(null, {
          status: 302,
          headers: { location: `${edge.url}/cdn-cgi/access/login/x` },
        });
      }
      const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
      const relay = relayTo(target, socket);
      relays.add(relay);
      relay.finally(() => relays.delete(relay));
      return response;
    },
  });
  const edge: AccessEdge = {
    url: `https://127.0.0.1:${server.addr.port}`,
    ca: authority.certificate,
    requests,
    answer: "relay",
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await Promise.all(relays);
    },
  };
  return edge;
}

/** Each message of the client goes to the service as it is, and what the service sends becomes messages. */
async function relayTo(target: string, socket: WebSocket): Promise<void> {
  const [hostname = "", port] = target.split(":");
  const connecting = Deno.connect({ hostname, port: Number(port) });
  const closed = Promise.withResolvers<void>();
  let written: Promise<unknown> = connecting;
  socket.binaryType = "arraybuffer";
  // All of it before the first wait: messages do not wait for somebody to listen.
  socket.onmessage = ({ data }) => {
    written = written.then(async () => await writeAll(await connecting, new Uint8Array(data as ArrayBuffer)))
      .catch(() => socket.close());
  };
  socket.onerror = () => {};
  socket.onclose = () => closed.resolve();
  const opened = new Promise<void>((resolve) => socket.onopen = () => resolve());

  const service = await connecting;
  closed.promise.then(() => closeQuietly(service));
  await Promise.race([opened, closed.promise]);
  const buffer = new Uint8Array(64 * 1024);
  try {
    for (let n; (n = await service.read(buffer)) !== null;) socket.send(buffer.slice(0, n));
  } catch {
    // Closed by the other side.
  }
  socket.close();
  await closed.promise;
}
