// deno-lint-ignore-file no-console -- a script for people
/**
 * Captures the ClientHello of every TLS client found on this machine into `client_hello/NAME.bin`: exactly the
 * bytes of the TLS records that carry it.
 *
 *     deno run -A tests/testdata/capture_client_hellos.ts [NAME…]
 */
import { connect as connectNodeTls } from "node:tls";

const HERE = new URL("./client_hello/", import.meta.url);
const CLIENT_LIFETIME_MS = 30_000;

interface Client {
  readonly name: string;
  /** Connects to `127.0.0.1:port`, asking for `NAME.example.com`. */
  start(port: number, signal: AbortSignal): Promise<unknown>;
  /** The client sends a PostgreSQL SSLRequest first. */
  readonly isPostgres?: boolean;
}

function program(
  name: string,
  command: string,
  args: (port: number) => string[],
  isPostgres = false,
): Client {
  return {
    name,
    isPostgres,
    start: (port, signal) =>
      new Deno.Command(command, { args: args(port), stdin: "null", stdout: "null", stderr: "null", signal })
        .output(),
  };
}

function openssl(name: string, ...args: string[]): Client {
  const names = args.includes("-noservername") ? [] : ["-servername", `${name}.example.com`];
  return program(name, "openssl", (port) => ["s_client", "-connect", `127.0.0.1:${port}`, ...names, ...args]);
}

function curl(name: string, ...args: string[]): Client {
  const host = `${name}.example.com`;
  return program(
    name,
    "curl",
    (port) => ["-sk", "--resolve", `${host}:${port}:127.0.0.1`, `https://${host}:${port}/`, ...args],
  );
}

const PYTHON = `
import socket, ssl, sys
context = ssl.create_default_context()
context.set_alpn_protocols(["postgresql"])
context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="python.example.com")`;

const NODE = `
require("tls").connect({ host: "127.0.0.1", port: +process.argv[1], servername: "node.example.com",
  ALPNProtocols: ["h2", "http/1.1"] }).on("error", () => {})`;

const JAVA = `
import java.net.Socket;
import javax.net.ssl.*;
class Hello {
  public static void main(String[] args) throws Exception {
    var plain = new Socket("127.0.0.1", Integer.parseInt(args[0]));
    var factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
    ((SSLSocket) factory.createSocket(plain, "java.example.com", 443, true)).startHandshake();
  }
}`;

const GO = `
package main
import ("crypto/tls"; "os")
func main() {
  tls.Dial("tcp", "127.0.0.1:" + os.Args[1], &tls.Config{ServerName: "go.example.com", NextProtos: []string{"h2"}})
}`;

/** A program from source text, in a folder that is removed afterwards. */
function compiled(name: string, command: string, file: string, source: string, args: string[]): Client {
  return {
    name,
    async start(port, signal) {
      const folder = await Deno.makeTempDir();
      try {
        await Deno.writeTextFile(`${folder}/${file}`, source);
        const all = [...args, `${folder}/${file}`, String(port)];
        await new Deno.Command(command, { args: all, stdout: "null", stderr: "null", signal }).output();
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  };
}

const chromium: Client = {
  name: "chromium",
  async start(port, signal) {
    const profile = await Deno.makeTempDir();
    const flags = [
      "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking",
      "--disable-component-update --disable-sync",
    ].join(" ").split(" ");
    const args = [
      ...flags,
      `--user-data-dir=${profile}`,
      "--host-resolver-rules=MAP chromium.example.com 127.0.0.1",
      "--dump-dom",
      `https://chromium.example.com:${port}/`,
    ];
    try {
      await new Deno.Command("chromium", { args, stdout: "null", stderr: "null", signal }).output();
    } finally {
      await Deno.remove(profile, { recursive: true }).catch(() => {}); // its children may still write there
    }
  },
};

const deno: Client = {
  name: "deno",
  async start(port) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const tls = await Deno.startTls(conn, { hostname: "deno.example.com", alpnProtocols: ["http/1.1"] });
    await tls.handshake().finally(() => tls.close());
  },
};

const denoNode: Client = {
  name: "deno-node-tls",
  start: (port) =>
    new Promise((resolve) => {
      const socket = connectNodeTls({ host: "127.0.0.1", port, servername: "deno-node-tls.example.com" });
      socket.on("error", resolve).on("close", resolve);
    }),
};

const CLIENTS: readonly Client[] = [
  openssl("openssl-tls12", "-tls1_2"),
  openssl("openssl-tls13", "-tls1_3"),
  openssl("openssl-alpn", "-alpn", "h2,http/1.1"),
  openssl("openssl-no-name", "-noservername"),
  curl("curl"),
  curl("curl-http1", "--http1.1"),
  curl("curl-tls12", "--tls-max", "1.2"),
  program("python", "python3", (port) => ["-c", PYTHON, String(port)]),
  program("node", "node", (port) => ["-e", NODE, String(port)]),
  program("psql", "psql", (port) => [
    `host=psql.example.com hostaddr=127.0.0.1 port=${port} user=u dbname=d sslmode=require gssencmode=disable`,
  ], true),
  deno,
  denoNode,
  compiled("java", "java", "Hello.java", JAVA, []),
  compiled("go", "go", "hello.go", GO, ["run"]),
  chromium,
];

/** Reads whole records until the handshake message that they carry is complete. */
async function readRecords(conn: Deno.Conn): Promise<Uint8Array> {
  let records = new Uint8Array(0), wanted = Infinity;
  const message: number[] = [];
  while (message.length < wanted) {
    const header = await readExactly(conn, 5);
    const body = await readExactly(conn, header[3]! << 8 | header[4]!);
    records = Uint8Array.of(...records, ...header, ...body);
    message.push(...body);
    if (message.length >= 4) wanted = 4 + (message[1]! << 16 | message[2]! << 8 | message[3]!);
  }
  return records;
}

async function readExactly(conn: Deno.Conn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let got = 0; got < length;) {
    const read = await conn.read(bytes.subarray(got));
    if (read === null) throw new Error(`The client left after ${got} of ${length} bytes`);
    got += read;
  }
  return bytes;
}

async function capture(client: Client): Promise<Uint8Array> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const abort = new AbortController();
  const lifetime = setTimeout(() => {
    abort.abort();
    listener.close();
  }, CLIENT_LIFETIME_MS);
  const running = client.start(listener.addr.port, abort.signal).catch(() => {}); // no handshake: it fails
  try {
    using conn = await listener.accept();
    if (client.isPostgres) {
      await readExactly(conn, 8);
      await conn.write(new TextEncoder().encode("S"));
    }
    return await readRecords(conn);
  } finally {
    clearTimeout(lifetime);
    abort.abort();
    await running;
  }
}

for (const client of CLIENTS) {
  if (Deno.args.length > 0 && !Deno.args.includes(client.name)) continue;
  try {
    const hello = await capture(client);
    await Deno.writeFile(new URL(`${client.name}.bin`, HERE), hello);
    console.log(`${client.name}: ${hello.length} bytes`);
  } catch (error) {
    console.error(`${client.name}: not captured: ${error}`);
  }
}
