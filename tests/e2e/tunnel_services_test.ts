/** Real services behind tunnels, and what a tunnel must not do to their bytes. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeAll } from "../../core/byte_stream.ts";
import { createAuthority } from "../support/certificates.ts";
import { readToEnd, startEcho, startReset, startResponder, startSink, startSource } from "../support/echo.ts";
import { startProxyReceiver } from "../support/haproxy.ts";
import { HttpClient } from "../support/http_client.ts";
import { writePem } from "../support/openssl.ts";
import { psql, startPostgres } from "../support/postgres.ts";
import { hostPort, temporaryFolder } from "../support/processes.ts";
import { startSshd } from "../support/sshd.ts";
import { DOMAIN, http, tcp, tls, Tunnels } from "../support/tunnels.ts";
import { can } from "./can.ts";

const MIB = 1 << 20;

for (const threads of [1, 2]) {
  Deno.test({
    name: `PostgreSQL through a tcp tunnel and through a tls tunnel, ${threads} thread(s)`,
    ignore: !can("psql", "initdb", "postgres"),
    async fn() {
      await using folder = await temporaryFolder();
      const authority = await createAuthority();
      const host = `db.${DOMAIN}`;
      await using postgres = await startPostgres({ tls: await authority.issue({ names: [host] }) });
      await using tunnels = await Tunnels.start({ threads });
      const target = hostPort(postgres.address);
      await using agent = await tunnels.agent([tcp("postgres", target), tls("db", target)]);
      const caFile = await writePem(folder.path, "ca", authority.certificate);

      const ask = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
      const byPort = { hostname: "127.0.0.1", port: agent.port("postgres") };
      const byName = { hostname: "127.0.0.1", port: tunnels.port };
      for (const address of [byPort, byName]) {
        // The certificate is the server's own: nobody in between has opened the TLS.
        const { rows, stderr } = await psql(ask, { address, host, sslMode: "verify-full", caFile });
        assert.deepEqual(rows, ["t|TLSv1.3"], stderr);
        const bulk = await psql("SELECT md5(string_agg(i::text, ',')) FROM generate_series(1, 300000) i", {
          address,
          host,
        });
        const all = Array.from({ length: 300_000 }, (_, i) => i + 1).join(",");
        assert.deepEqual(bulk.rows, [createHash("md5").update(all).digest("hex")], bulk.stderr);
      }
      const plain = await psql("SELECT 1", { address: byPort, sslMode: "disable" });
      assert.deepEqual(plain.rows, ["1"], "by port, TLS is the client's own affair");
      const refused = await psql("SELECT 1", { address: byName, host, sslMode: "disable" });
      assert.match(refused.stderr, /sslmode=require/, "by name, there is none without TLS");
    },
  });
}

Deno.test({
  name: "ssh through a tcp tunnel: the server speaks first; a command, its exit code, and bytes both ways",
  ignore: !can("sshd", "ssh", "ssh-keygen"),
  async fn() {
    await using sshd = await startSshd();
    await using tunnels = await Tunnels.start();
    await using agent = await tunnels.agent([tcp("ssh", hostPort(sshd.address))]);
    const via = { hostname: "127.0.0.1", port: agent.port("ssh") };

    const hello = await sshd.ssh("echo hello; exit 7", { via });
    assert.deepEqual([hello.code, hello.stdout], [7, "hello\n"], hello.stderr);
    const data = randomBytes(4 * MIB);
    const copied = await sshd.ssh("cat", { via, input: data });
    assert.equal(sha256(copied.bytes), sha256(data), copied.stderr);
  },
});

Deno.test({
  name: "half-close: who has said everything still hears the answer",
  ignore: !can(),
  async fn() {
    await using service = startResponder((request) => request.toReversed());
    await using tunnels = await Tunnels.start();
    await using agent = await tunnels.agent([tcp("tcp", service.target)]);
    using client = await tunnels.connect(agent.port("tcp"));
    const said = randomBytes(3 * MIB);
    await writeAll(client, said);
    await client.closeWrite();
    assert.equal(sha256(await readToEnd(client)), sha256(said.toReversed()));
  },
});

Deno.test({
  name: "a service that ends first is heard to its end, and then hears no more",
  ignore: !can(),
  async fn() {
    const data = randomBytes(2 * MIB);
    await using service = startSource(data);
    await using tunnels = await Tunnels.start();
    await using agent = await tunnels.agent([tcp("source", service.target)]);
    using client = await tunnels.connect(agent.port("source"));
    await writeAll(client, new TextEncoder().encode("go"));
    assert.equal(sha256(await readToEnd(client)), sha256(data));
  },
});

Deno.test({
  name: "a service that resets: to the public its connection ends, and the tunnel goes on",
  ignore: !can(),
  async fn() {
    await using service = await startReset();
    await using echo = startEcho();
    await using tunnels = await Tunnels.start();
    await using agent = await tunnels.agent([tcp("reset", service.target), tcp("echo", echo.target)]);
    using client = await tunnels.connect(agent.port("reset"));
    await writeAll(client, new TextEncoder().encode("hello"));
    assert.equal((await readToEnd(client).catch(() => new Uint8Array())).length, 0);
    using other = await tunnels.connect(agent.port("echo"));
    assert.equal(await roundTrip(other, "still here"), "still here");
  },
});

for (const threads of [1, 2]) {
  Deno.test({
    name: `100 MB both ways at once come through as they were sent, ${threads} thread(s)`,
    ignore: !can(),
    async fn() {
      await using echo = startEcho();
      await using sink = startSink();
      await using tunnels = await Tunnels.start({ threads });
      await using agent = await tunnels.agent([tcp("echo", echo.target), tcp("sink", sink.target)]);
      using client = await tunnels.connect(agent.port("echo"));
      const [sent, received] = await Promise.all([send(client, 100), receive(client)]);
      assert.deepEqual(received, sent);

      using up = await tunnels.connect(agent.port("sink"));
      const uploaded = await send(up, 100);
      assert.equal((await readToEnd(up)).length, 0);
      assert.deepEqual(sink.received, [uploaded]);
    },
  });
}

Deno.test({
  name:
    "a target that asks for it is told the public client's address by PROXY v2, over http and tcp tunnels",
  ignore: !can("haproxy"),
  async fn() {
    await using receiver = await startProxyReceiver();
    await using tunnels = await Tunnels.start();
    const target = hostPort(receiver.address);
    const asking = { proxyProtocol: "v2" } as const;
    await using agent = await tunnels.agent([
      { ...http("seen", target), ...asking },
      tcp("raw", target, asking),
      tcp("silent", target),
    ]);
    const byTls = await tunnels.connectTls("seen");
    const byTcp = await tunnels.connect(agent.port("raw"));
    for (const stream of [byTls, byTcp]) {
      const { hostname, port } = stream.localAddr as Deno.NetAddr;
      const to = stream.remoteAddr as Deno.NetAddr;
      using client = new HttpClient(stream, `seen.${DOMAIN}`);
      const { status, text } = await client.request();
      assert.equal(status, 200, text);
      const seen = JSON.parse(text);
      assert.equal(seen.source, `${hostname}:${port}`);
      assert.equal(seen.destination, `127.0.0.1:${to.port}`);
    }
    using refused = new HttpClient(await tunnels.connect(agent.port("silent")), "x");
    await assert.rejects(refused.request(), "without it, who insists on the header takes nothing");
  },
});

Deno.test({
  name: "a real agent process serves http, tcp and tls, and leaves on SIGTERM without a word of its token",
  ignore: !can(),
  async fn() {
    await using echo = startEcho();
    await using service = startHello();
    await using tunnels = await Tunnels.start();
    const agent = await tunnels.agentProcess([
      http("web", service.target),
      tcp("echo", echo.target),
      tls("secure", echo.target),
    ]);
    const ask = async () => {
      using client = new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`);
      return await client.request();
    };
    assert.equal((await ask()).text, "hello");
    using stream = await tunnels.connect(agent.port("echo"));
    assert.equal(await roundTrip(stream, "over tcp"), "over tcp");
    await stream.closeWrite();
    assert.equal((await readToEnd(stream)).length, 0);
    agent.program.kill("SIGTERM");
    const { code } = await agent.program.status;
    assert.equal(code, 0, agent.program.output);
    await tunnels.gateway.logged("tunnel_closed", ({ reason }) => reason === "agent_left");
    assert.ok(!agent.program.output.includes(tunnels.tokens.alice));
    assert.equal((await ask()).status, 404, "a name that was given back is free at once");
  },
});

/** An HTTP service of one page. */
function startHello(): AsyncDisposable & { readonly target: string } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello"));
  return {
    target: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

async function roundTrip(stream: Deno.Conn, text: string): Promise<string> {
  await writeAll(stream, new TextEncoder().encode(text));
  const bytes = new Uint8Array(text.length);
  for (let filled = 0, n; filled < bytes.length; filled += n) {
    n = await stream.read(bytes.subarray(filled)) ?? assert.fail("ended");
  }
  return new TextDecoder().decode(bytes);
}

/** Sends so many MiB, none like another, and FIN. */
async function send(stream: Deno.Conn, mebibytes: number): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  const chunk = randomBytes(MIB);
  for (let i = 0; i < mebibytes; i++) {
    chunk.writeUInt32BE(i, i * 4);
    hash.update(chunk);
    await writeAll(stream, chunk);
  }
  await stream.closeWrite();
  return { bytes: mebibytes * MIB, sha256: hash.digest("hex") };
}

async function receive(stream: Deno.Conn): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(256 * 1024);
  let bytes = 0;
  for (let n; (n = await stream.read(buffer)) !== null; bytes += n) hash.update(buffer.subarray(0, n));
  return { bytes, sha256: hash.digest("hex") };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
