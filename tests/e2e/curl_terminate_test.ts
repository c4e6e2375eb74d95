import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeAll } from "../../core/byte_stream.ts";
import { curl } from "../support/curl.ts";
import { serveTcp, type TestServer } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { startNginx } from "../support/nginx.ts";
import { sClient } from "../support/openssl.ts";
import { hostPort, run, temporaryFolder } from "../support/processes.ts";
import { can } from "./can.ts";
import { type Route, staticRoutes } from "../support/static_routes.ts";
import { certificateFiles } from "./certificate_files.ts";

const ignore = !can("nginx", "curl", "openssl");
const NAME = "app.example.com";

/** nginx with plain HTTP behind a gateway that terminates TLS for {@link NAME}. */
async function scene(more: Partial<Route> = {}) {
  await using stack = new AsyncDisposableStack();
  const nginx = stack.use(await startNginx());
  const route = { sni: NAME, terminate: true, to: hostPort(nginx.address), ...more };
  const certificate = stack.use(await certificateFiles(NAME));
  const gateway = stack.use(
    await TestGateway.start({
      yaml: `${certificate.yaml}\n${staticRoutes(route)}`,
    }),
  );
  const owned = stack.move();
  return {
    gateway,
    address: { hostname: "127.0.0.1", port: gateway.port() },
    ca: certificate.ca,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test({
  name: "curl gets through terminated TLS 1.2 and 1.3 with HTTP/1.1, and trusts the certificate",
  ignore,
  async fn() {
    await using there = await scene();
    for (const version of ["1.2", "1.3"]) {
      const { status, text, version: http, log } = await curl(`https://${NAME}/`, {
        connectTo: there.address,
        ca: there.ca,
        args: ["--tls-max", version, `--tlsv${version}`],
      });
      assert.deepEqual([status, http], [200, "1.1"], log);
      assert.deepEqual(JSON.parse(text), { client: "127.0.0.1", host: NAME, serverName: "", tls: "" });
    }
    const old = await curl(`https://${NAME}/`, {
      connectTo: there.address,
      args: ["--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0"],
    });
    assert.deepEqual([old.code, old.status], [35, 0]);
    assert.match(old.log, /alert handshake failure|alert protocol version/);
  },
});

Deno.test({
  name: "curl sends a body of some megabytes through terminated TLS, and every byte arrives",
  ignore,
  async fn() {
    const body = new Uint8Array(4 << 20);
    for (let at = 0; at < body.length; at += 65_536) {
      crypto.getRandomValues(body.subarray(at, at + 65_536));
    }
    await using service = startHasher(body.length);
    await using there = await scene({ to: service.target });
    await using folder = await temporaryFolder();
    await Deno.writeFile(`${folder.path}/body`, body);
    for (const version of ["1.2", "1.3"]) {
      const { text, log } = await curl(`https://${NAME}/`, {
        connectTo: there.address,
        ca: there.ca,
        args: ["--data-binary", `@${folder.path}/body`, "-H", "Expect:", "--tls-max", version],
      });
      assert.equal(text, createHash("sha256").update(body).digest("hex"), log);
    }
  },
});

/** Answers a request whose body has this many bytes with their SHA-256. */
function startHasher(bodyBytes: number): TestServer {
  return serveTcp(async (conn) => {
    const hash = createHash("sha256");
    const buffer = new Uint8Array(65_536);
    let head = "";
    for (let left = bodyBytes, n; left > 0 && (n = await conn.read(buffer)) !== null;) {
      let chunk = buffer.subarray(0, n);
      if (!head.includes("\r\n\r\n")) {
        const before = head.length;
        head += new TextDecoder("latin1").decode(chunk);
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) continue;
        chunk = chunk.subarray(end + 4 - before);
      }
      hash.update(chunk);
      left -= chunk.length;
    }
    const answer = hash.digest("hex");
    await writeAll(conn, new TextEncoder().encode(`HTTP/1.0 200 OK\r\n\r\n${answer}`));
  });
}

Deno.test({
  name: "the client and the gateway agree on ALPN, or the client gets alert 120",
  ignore,
  async fn() {
    await using there = await scene({ alpn: ["http/1.1"] });
    const options = { serverName: NAME, ca: there.ca };
    const input = `GET / HTTP/1.0\r\n\r\n`;
    const good = await sClient(there.address, { ...options, alpn: ["h2", "http/1.1"], input });
    assert.deepEqual([good.code, good.alpn], [0, "http/1.1"], good.log);
    assert.match(good.received, /^HTTP\/1.1 200/);
    const none = await sClient(there.address, { ...options, input });
    assert.match(none.received, /^HTTP\/1.1 200/, "who offers nothing gets through");
    const bad = await sClient(there.address, { ...options, alpn: ["h2"] });
    assert.equal(bad.alert, 120, bad.log);
  },
});

Deno.test({
  name: "Node's fetch and https get through terminated TLS",
  ignore: ignore || !can("node"),
  async fn() {
    await using there = await scene();
    await using folder = await temporaryFolder();
    await Deno.writeTextFile(`${folder.path}/ca.pem`, there.ca);
    const { code, stdout, stderr } = await run("node", {
      args: ["--input-type=module", "-e", NODE_CLIENT],
      env: {
        NODE_EXTRA_CA_CERTS: `${folder.path}/ca.pem`,
        PORT: String(there.address.port),
        NAME,
      },
    });
    assert.deepEqual([code, stdout], [0, `200 ${NAME}\n`.repeat(3)], stderr);
  },
});

/** Two requests on one connection of `node:https`, and one of `fetch`, which cannot be told where a name is. */
const NODE_CLIENT = `
import { Agent, get } from "node:https";
import dns from "node:dns";
const { PORT: port, NAME: host } = process.env;
const lookup = (_name, options, done) => options.all
  ? done(null, [{ address: "127.0.0.1", family: 4 }])
  : done(null, "127.0.0.1", 4);
dns.lookup = lookup;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
for (let i = 0; i < 2; i++) {
  await new Promise((resolve, reject) => get({ host, port, agent, lookup, headers: { host } }, (response) => {
    let text = "";
    response.on("data", (chunk) => text += chunk);
    response.on("end", () => resolve(console.log(response.statusCode, JSON.parse(text).host)));
  }).on("error", reject));
}
agent.destroy();
const response = await fetch("https://" + host + ":" + port + "/");
console.log(response.status, (await response.json()).host);
`;

Deno.test({
  name: "Python's ssl gets through terminated TLS, and ends it in order",
  ignore: ignore || !can("python3"),
  async fn() {
    await using there = await scene();
    await using folder = await temporaryFolder();
    await Deno.writeTextFile(`${folder.path}/ca.pem`, there.ca);
    const { code, stdout, stderr } = await run("python3", {
      args: ["-c", PYTHON_CLIENT, String(there.address.port), NAME, `${folder.path}/ca.pem`],
    });
    assert.deepEqual([code, stdout], [0, "TLSv1.3 HTTP/1.1 200 OK\n"], stderr);
  },
});

const PYTHON_CLIENT = `
import socket, ssl, sys
port, name, ca = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=ca)
with socket.create_connection(("127.0.0.1", port)) as tcp:
    with context.wrap_socket(tcp, server_hostname=name, suppress_ragged_eofs=False) as tls:
        tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answer = b""
        while chunk := tls.recv(65536):
            answer += chunk
        print(tls.version(), answer.split(b"\\r\\n")[0].decode())
`;
