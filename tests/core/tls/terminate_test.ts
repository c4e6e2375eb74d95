import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { connect as connectTls } from "node:tls";
import { type ByteStream, closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import { parseCertificate } from "../../../core/tls/certificates.ts";
import { CertificateStore } from "../../../core/tls/contexts.ts";
import {
  createTerminator,
  type Terminated,
  type TerminateOptions,
  TlsFault,
} from "../../../core/tls/terminate.ts";
import { createAuthority, createCertificate, type MadeCertificate } from "../../support/certificates.ts";
import { curl } from "../../support/curl.ts";
import { readToEnd, serveTcp, type TestServer } from "../../support/echo.ts";
import { type ClientOptions, type ClientResult, sClient } from "../../support/openssl.ts";
import { granted, hasProgram } from "../../support/permissions.ts";
import { run, temporaryFolder } from "../../support/processes.ts";
import { until } from "../../support/until.ts";

const NAME = "a.example.com";
const openssl = { ignore: !hasProgram("openssl") };
const HOUR_MS = 3_600_000;

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function storeOf(...certificates: MadeCertificate[]): Promise<CertificateStore> {
  const store = new CertificateStore();
  store.replace(await Promise.all(certificates.map(materialOf)));
  return store;
}

function materialOf({ certificate, key }: MadeCertificate) {
  return parseCertificate(certificate, key, { cert: "cert.pem", key: "key.pem" });
}

type Options = Partial<TerminateOptions>;
type Handler = (terminated: Terminated) => void | Promise<void>;

interface TlsServer extends TestServer {
  readonly faults: readonly TlsFault[];
  readonly infos: readonly Terminated["info"][];
}

/** Terminates every connection for {@link NAME}, or as `options` says at that time. */
function serveTls(
  store: CertificateStore,
  handler: Handler,
  options: Options | (() => Options) = {},
): TlsServer {
  const terminator = createTerminator(store);
  const faults: TlsFault[] = [];
  const infos: Terminated["info"][] = [];
  const server = serveTcp(async (connection) => {
    try {
      const terminated = await terminator.terminate(connection, {
        replay: new Uint8Array(),
        serverName: NAME,
        ...(typeof options === "function" ? options() : options),
      });
      infos.push(terminated.info);
      await handler(terminated);
    } catch (error) {
      if (!(error instanceof TlsFault)) throw error;
      faults.push(error);
      error.plaintext?.close();
    }
  });
  return Object.create(server, Object.getOwnPropertyDescriptors({ faults, infos }));
}

/** Answers what comes first, and ends. */
const answerOnce: Handler = async ({ stream }) => {
  const buffer = new Uint8Array(4096);
  const length = await stream.read(buffer);
  if (length !== null) await writeAll(stream, encode(`got ${decode(buffer.subarray(0, length)).trim()}`));
  await stream.closeWrite();
  stream.close();
};

const echo: Handler = async ({ stream }) => {
  const buffer = new Uint8Array(50_000);
  for (let length; (length = await stream.read(buffer)) !== null;) {
    await writeAll(stream, buffer.subarray(0, length));
  }
  await stream.closeWrite();
  stream.close();
};

/** `Deno.startTls`, which is rustls: a client that shares its record layer with the server, but needs no program. */
async function dial(server: TestServer, ca: string, alpnProtocols: string[] = []): Promise<Deno.TlsConn> {
  const connection = await Deno.connect(server.address);
  return await Deno.startTls(connection, { hostname: NAME, caCerts: [ca], alpnProtocols });
}

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("A terminated stream carries large bodies both ways, in pieces of odd sizes", async () => {
  const certificate = await createCertificate(NAME);
  await using server = serveTls(await storeOf(certificate), echo);
  using client = await dial(server, certificate.ca);
  const data = randomBytes(5_000_003);
  const [back] = await Promise.all([
    readToEnd(client),
    (async () => {
      const sizes = [1, 7, 16_384, 16_385, 99_991, 3];
      for (let at = 0, i = 0; at < data.length; i++) {
        const piece = data.subarray(at, at + (sizes[i % sizes.length] ?? 1));
        await writeAll(client, piece);
        at += piece.length;
      }
      await client.closeWrite();
    })(),
  ]);
  assert.equal(sha256(back), sha256(data));
});

Deno.test("What was read before is replayed into the handshake, however it was cut", async () => {
  const certificate = await createCertificate(NAME);
  const store = await storeOf(certificate);
  const terminator = createTerminator(store);
  for (const most of [1, 200, 4096]) {
    await using server = serveTcp(async (connection) => {
      const hello = new Uint8Array(most);
      const length = await connection.read(hello) ?? 0;
      const replay = hello.subarray(0, length);
      await answerOnce(await terminator.terminate(connection, { replay, serverName: NAME }));
    });
    using client = await dial(server, certificate.ca);
    await writeAll(client, encode("hello"));
    assert.equal(decode(await readToEnd(client)), "got hello");
  }
});

Deno.test("The answer to a client that has sent its FIN still arrives (half-close)", async () => {
  const certificate = await createCertificate(NAME);
  await using server = serveTls(await storeOf(certificate), async ({ stream }) => {
    const request = await readToEnd(stream);
    await writeAll(stream, request.toReversed());
    await stream.closeWrite();
    stream.close();
  });
  using client = await dial(server, certificate.ca);
  await writeAll(client, encode("ping"));
  await client.closeWrite();
  assert.equal(decode(await readToEnd(client)), "gnip");
});

Deno.test("A server that ends first still gets what the client sends", async () => {
  const certificate = await createCertificate(NAME);
  const { promise: received, resolve } = Promise.withResolvers<string>();
  await using server = serveTls(await storeOf(certificate), async ({ stream }) => {
    await writeAll(stream, encode("first"));
    await stream.closeWrite();
    resolve(decode(await readToEnd(stream)));
    stream.close();
  });
  using client = await dial(server, certificate.ca);
  assert.equal(decode(await readToEnd(client)), "first");
  await writeAll(client, encode("and the client after it"));
  await client.closeWrite();
  assert.equal(await received, "and the client after it");
});

Deno.test("A client that nobody reads is stopped, instead of filling the memory", async () => {
  const certificate = await createCertificate(NAME);
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  await using server = serveTls(await storeOf(certificate), async ({ stream }) => {
    await ended;
    stream.close();
  });
  using client = await dial(server, certificate.ca);
  const megabyte = new Uint8Array(1_000_000);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 300; sent++) await writeAll(client, megabyte);
  })().catch(() => {});
  let before = -1;
  await until(async () => {
    const stuck = sent === before;
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return stuck;
  }, { what: "the client to be stopped", deadlineMs: 20_000 });
  const stoppedAt = sent;
  end();
  await sending;
  assert.ok(stoppedAt < 50, `${stoppedAt} MB were taken without a reader`);
});

Deno.test("A pending read of a terminated stream rejects when the stream is closed, and when the client resets", async () => {
  const certificate = await createCertificate(NAME);
  const { promise: first, resolve } = Promise.withResolvers<ByteStream>();
  await using server = serveTls(await storeOf(certificate), async ({ stream }) => {
    resolve(stream);
    await readToEnd(stream).catch(() => {});
  });
  using client = await dial(server, certificate.ca);
  await client.handshake();
  const stream = await first;
  await until(() => server.infos.length === 1, { what: "the handshake" });
  stream.close();
  await assert.rejects(stream.read(new Uint8Array(1)), Deno.errors.BadResource);
  assert.equal(await client.read(new Uint8Array(1)).catch(() => null), null);
});

Deno.test("ALPN: the server's order decides, and the agreed protocol is told", async () => {
  const certificate = await createCertificate(NAME);
  await using server = serveTls(await storeOf(certificate), answerOnce, { alpn: ["h2", "http/1.1"] });
  for (
    const [offered, agreed] of [[["http/1.1", "h2"], "h2"], [["http/1.1"], "http/1.1"], [
      [],
      undefined,
    ]] as const
  ) {
    using client = await dial(server, certificate.ca, [...offered]);
    const { alpnProtocol } = await client.handshake();
    assert.equal(alpnProtocol ?? undefined, agreed);
    await writeAll(client, encode("x"));
    await readToEnd(client);
    assert.equal(server.infos.at(-1)?.alpn, agreed);
  }
});

Deno.test("The certificate is chosen by name, and a new one serves the next connection without ending this one", async () => {
  const [root, other] = [await createAuthority("old"), await createAuthority("new")];
  const store = await storeOf(await root.issue({ names: [NAME] }));
  await using server = serveTls(store, echo);
  using before = await dial(server, root.certificate);
  await before.handshake();
  store.replace([await materialOf(await other.issue({ names: [NAME] }))]);

  using after = await dial(server, other.certificate);
  await after.handshake();
  await writeAll(before, encode("still here"));
  await before.closeWrite();
  assert.equal(decode(await readToEnd(before)), "still here");
  using distrustful = await dial(server, root.certificate);
  await assert.rejects(distrustful.handshake(), Deno.errors.InvalidData);
  await until(() => server.faults.length === 1, { what: "the client's alert" });
  assert.equal(server.faults[0]?.code, "client_alert");
});

Deno.test("A name without a certificate gets the alert unrecognized_name", async () => {
  await using server = serveTls(await storeOf(await createCertificate(NAME)), echo, {
    serverName: "b.example.com",
  });
  using client = await Deno.connect(server.address);
  await client.write(encode("anything"));
  assert.equal((await readToEnd(client)).toHex(), "15030300020270");
});

Deno.test("Bytes that are no TLS end the handshake with an alert", async () => {
  await using server = serveTls(await storeOf(await createCertificate(NAME)), echo);
  using client = await Deno.connect(server.address);
  await client.write(encode("GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"));
  const answer = await readToEnd(client);
  assert.equal(answer[0], 21, "an alert");
  await client.closeWrite();
  await until(() => server.faults.length === 1, { what: "the fault" });
  assert.equal(server.faults[0]?.code, "handshake_failed");
});

/** A real ClientHello, as `node:tls` sends it. */
async function clientHello(): Promise<Uint8Array> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const socket = connectTls({ port: listener.addr.port, host: "127.0.0.1", servername: NAME });
  socket.on("error", () => {});
  using connection = await listener.accept();
  const buffer = new Uint8Array(4096);
  const length = await connection.read(buffer) ?? 0;
  listener.close();
  socket.destroy();
  return buffer.slice(0, length);
}

Deno.test("A client that leaves in mid-handshake ends it, wherever it leaves and however", async () => {
  const hello = await clientHello();
  await using server = serveTls(await storeOf(await createCertificate(NAME)), echo);
  let left = 0;
  for (const length of [0, 1, 5, 100, hello.length]) {
    using client = await Deno.connect(server.address);
    if (length > 0) await writeAll(client, hello.subarray(0, length));
    await client.closeWrite();
    await readToEnd(client);
    left++;
    await until(() => server.faults.length === left && server.open === 0, {
      what: "the end of the handshake",
    });
  }
  assert.deepEqual(new Set(server.faults.map(({ code }) => code)), new Set(["client_closed"]));
});

Deno.test("A stalled handshake ends when the caller closes the stream", async () => {
  const hello = await clientHello();
  const terminator = createTerminator(await storeOf(await createCertificate(NAME)));
  for (const length of [0, 100, hello.length]) {
    await using server = serveTcp(async (connection) => {
      const failed = assert.rejects(
        terminator.terminate(connection, { replay: hello.subarray(0, length), serverName: NAME }),
        (error) => error instanceof TlsFault && error.code === "client_closed",
      );
      await new Promise((resolve) => setImmediate(resolve));
      closeQuietly(connection);
      await failed;
    });
    using client = await Deno.connect(server.address);
    await readToEnd(client).catch(() => {});
    await until(() => server.open === 0, { what: "the handler to end" });
  }
});

Deno.test("Failed and finished handshakes leave no file descriptor behind", {
  ignore: !granted("read") || Deno.build.os !== "linux",
}, async () => {
  const certificate = await createCertificate(NAME);
  const hello = await clientHello();
  const sockets = () =>
    [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
      try {
        return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith("socket:");
      } catch {
        return false; // the folder's own descriptor is gone by now
      }
    }).length;
  const before = sockets();
  {
    await using server = serveTls(await storeOf(certificate), answerOnce);
    for (let round = 0; round < 40; round++) {
      const good = dial(server, certificate.ca).then(async (client) => {
        await writeAll(client, encode("x"));
        await readToEnd(client);
        client.close();
      });
      const bad = [hello, hello.subarray(0, 50), encode("garbage that is no TLS at all")].map(
        async (bytes) => {
          const client = await Deno.connect(server.address);
          await writeAll(client, bytes);
          if (bytes !== hello) await client.closeWrite();
          await client.read(new Uint8Array(10_000));
          client.close();
        },
      );
      await Promise.all([good, ...bad]);
    }
    await until(() => server.open === 0, { what: "every connection to end" });
  }
  await until(() => sockets() <= before, { what: () => `${sockets()} sockets to be ${before} again` });
});

// --- client certificates ---

interface Clients {
  readonly server: MadeCertificate & { readonly ca: string };
  readonly ca: string;
  readonly good: MadeCertificate;
  readonly chained: MadeCertificate;
  readonly rogue: MadeCertificate;
  readonly expired: MadeCertificate;
  readonly notForClients: MadeCertificate;
}

async function makeClients(): Promise<Clients> {
  const [root, stranger] = [await createAuthority("clients"), await createAuthority("clients")];
  return {
    server: await createCertificate(NAME),
    ca: root.certificate,
    good: await root.issue({ commonName: "good" }),
    chained: await (await root.intermediate("below")).issue({ commonName: "chained" }),
    rogue: await stranger.issue({ commonName: "rogue" }),
    expired: await root.issue({ commonName: "expired", notAfter: new Date(Date.now() - HOUR_MS) }),
    notForClients: await root.issue({ commonName: "server", usage: "server" }),
  };
}

type Who = "good" | "chained" | "rogue" | "expired" | "notForClients" | undefined;

const required: {
  who: Who;
  version: "TLSv1.2" | "TLSv1.3";
  chain?: number;
  fault?: string;
  alert?: number;
}[] = [
  { who: "good", version: "TLSv1.2", chain: 1 },
  { who: "good", version: "TLSv1.3", chain: 1 },
  { who: "chained", version: "TLSv1.2", chain: 2 },
  { who: "chained", version: "TLSv1.3", chain: 2 },
  { who: undefined, version: "TLSv1.2", fault: "no_certificate", alert: 116 },
  { who: undefined, version: "TLSv1.3", fault: "no_certificate", alert: 116 },
  { who: "rogue", version: "TLSv1.2", fault: "bad_certificate", alert: 48 },
  { who: "rogue", version: "TLSv1.3", fault: "bad_certificate" },
  { who: "expired", version: "TLSv1.2", fault: "bad_certificate", alert: 45 },
  { who: "expired", version: "TLSv1.3", fault: "bad_certificate" },
  { who: "notForClients", version: "TLSv1.2", fault: "bad_certificate", alert: 48 },
  { who: "notForClients", version: "TLSv1.3", fault: "bad_certificate" },
];

for (const { who, version, chain, fault, alert } of required) {
  const outcome = fault ?? "in";
  Deno.test(
    `A required client certificate: ${who ?? "none"} over ${version} is ${outcome}`,
    openssl,
    async () => {
      const clients = await makeClients();
      await using server = serveTls(await storeOf(clients.server), answerOnce, {
        clientCertificate: { mode: "require", ca: clients.ca },
      });
      const result = await sClient(server.address, {
        serverName: NAME,
        ca: clients.server.ca,
        version,
        input: "hello\n",
        ...(who && { certificate: clients[who] }),
      });
      assert.equal(server.infos.at(-1)?.clientCertificates?.length, chain);
      assert.equal(server.faults.at(-1)?.code, fault, server.faults.at(-1)?.message);
      assert.equal(result.received, fault === undefined ? "got hello" : "", result.log);
      assert.equal(result.alert, alert, result.log);
      if (who && chain) {
        assert.deepEqual(server.infos.at(-1)?.clientCertificates?.[0], clients[who].der);
      }
    },
  );
}

Deno.test(
  "A refused certificate over TLS 1.3 can be answered in the client's own protocol",
  openssl,
  async () => {
    const clients = await makeClients();
    const terminator = createTerminator(await storeOf(clients.server));
    await using server = serveTcp(async (connection) => {
      const fault = await terminator.terminate(connection, {
        replay: new Uint8Array(),
        serverName: NAME,
        clientCertificate: { mode: "require", ca: clients.ca },
      }).catch((error) => error);
      assert.ok(fault instanceof TlsFault && fault.plaintext);
      await writeAll(fault.plaintext, encode(fault.message));
      await fault.plaintext.closeWrite();
      fault.plaintext.close();
    });
    const { expired, server: { ca } } = clients;
    const result = await sClient(server.address, {
      serverName: NAME,
      ca,
      version: "TLSv1.3",
      certificate: expired,
    });
    assert.match(result.received, /^The client certificate has expired on /);
  },
);

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  Deno.test(
    `A certificate that is only asked for is told when it is good (${version})`,
    openssl,
    async () => {
      const clients = await makeClients();
      await using server = serveTls(await storeOf(clients.server), answerOnce, {
        clientCertificate: { mode: "request", ca: clients.ca },
      });
      for (
        const [who, told] of [["good", 1], ["rogue", undefined], ["expired", undefined], [
          undefined,
          undefined,
        ]] as const
      ) {
        const result = await sClient(server.address, {
          serverName: NAME,
          version,
          input: "hello\n",
          ...(who && { certificate: clients[who] }),
        });
        assert.equal(result.received, "got hello", result.log);
        assert.equal(server.infos.at(-1)?.clientCertificates?.length, told, who);
      }
    },
  );

  Deno.test(
    `A session ticket brings nobody in who was not verified under the same CAs (${version})`,
    openssl,
    async () => {
      const clients = await makeClients();
      const other = await createAuthority("others");
      const ask = (mode: "request" | "require", ca: string): Options => ({ clientCertificate: { mode, ca } });
      const store = await storeOf(clients.server);
      let options: Options = {};
      await using server = serveTls(store, answerOnce, () => options);
      await using folder = await temporaryFolder();
      const visit = (more: ClientOptions): Promise<ClientResult> =>
        sClient(server.address, { serverName: NAME, version, input: "hello\n", ...more });
      const save = (name: string) => ["-sess_out", `${folder.path}/${name}`];
      const resume = (name: string) => ["-sess_in", `${folder.path}/${name}`];
      const lastChain = () => server.infos.at(-1)?.clientCertificates;

      // Who was turned down, or was never asked, is not taken for verified because of a ticket.
      options = ask("request", clients.ca);
      await visit({ certificate: clients.rogue, args: save("rogue") });
      assert.equal(lastChain(), undefined);
      await visit({ args: resume("rogue") });
      assert.equal(lastChain(), undefined);
      options = {};
      await visit({ args: save("anonymous") });

      options = ask("require", clients.ca);
      for (const session of ["rogue", "anonymous"]) {
        const refused = await visit({ args: resume(session) });
        assert.equal(refused.received, "", `${session}: ${refused.log}`);
      }
      assert.equal(server.faults.length, 2);

      // Who was verified comes back by its ticket, but not where other CAs are asked for.
      await visit({ certificate: clients.good, args: save("good") });
      assert.deepEqual(lastChain(), [clients.good.der]);
      const back = await visit({ args: resume("good") });
      assert.equal(back.received, "got hello", back.log);
      assert.deepEqual(lastChain(), [clients.good.der]);
      options = ask("require", other.certificate);
      const elsewhere = await visit({ args: resume("good") });
      assert.equal(elsewhere.received, "", elsewhere.log);
      assert.equal(server.faults.at(-1)?.code, "bad_certificate");
    },
  );

  Deno.test(`A session of one name is not resumed for another (${version})`, openssl, async () => {
    const certificate = await createCertificate(NAME, "b.example.com");
    await using server = serveTls(await storeOf(certificate), answerOnce);
    await using folder = await temporaryFolder();
    const visit = async (serverName: string, ...args: string[]) => {
      const target = ["-connect", server.target, "-servername", serverName];
      const flags = ["-ign_eof", version === "TLSv1.2" ? "-tls1_2" : "-tls1_3"];
      const { stdout } = await run("openssl", {
        args: ["s_client", ...target, ...flags, ...args],
        input: "hello\n",
      });
      assert.match(stdout, /got hello/);
      return /^(New|Reused), TLS/m.exec(stdout)?.[1];
    };
    const session = `${folder.path}/session`;
    assert.equal(await visit(NAME, "-sess_out", session), "New");
    assert.equal(await visit(NAME, "-sess_in", session), "Reused");
    assert.equal(await visit("b.example.com", "-sess_in", session), "New");
  });
}

Deno.test(
  "The identity is the certificate whose key the client has, whatever it sends behind it",
  openssl,
  async () => {
    const [pinned, other] = [await createAuthority("pinned"), await createAuthority("other")];
    const victim = await other.issue({ commonName: "victim" });
    const server = await createCertificate(NAME);
    await using gateway = serveTls(await storeOf(server), answerOnce, {
      clientCertificate: { mode: "require", ca: `${pinned.certificate}\n${other.certificate}` },
    });
    const certificate = { certificate: `${pinned.certificate}\n${victim.certificate}`, key: pinned.key };
    const { received, log } = await sClient(gateway.address, {
      serverName: NAME,
      input: "hello\n",
      certificate,
    });
    assert.equal(received, "got hello", log);
    assert.deepEqual(gateway.infos[0]?.clientCertificates?.[0], pinned.der);
  },
);

Deno.test("CAs that issued each other are refused, because the runtime would follow them for ever", async () => {
  const terminator = createTerminator(await storeOf(await createCertificate(NAME)));
  const second = await (await createAuthority("first")).intermediate("second");
  const first = await second.intermediate("first");
  await using server = serveTcp(async (connection) => {
    await assert.rejects(
      terminator.terminate(connection, {
        replay: new Uint8Array(),
        serverName: NAME,
        clientCertificate: { mode: "require", ca: `${first.certificate}\n${second.certificate}` },
      }),
      { name: "GatewayError", code: "certificate-invalid" },
    );
  });
  using client = await Deno.connect(server.address);
  await readToEnd(client);
});

Deno.test("There must be a CA to verify clients against, and one that can be trusted with it", async () => {
  const terminator = createTerminator(await storeOf(await createCertificate(NAME)));
  for (const ca of ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]) {
    await using server = serveTcp(async (connection) => {
      await assert.rejects(
        terminator.terminate(connection, {
          replay: new Uint8Array(),
          serverName: NAME,
          clientCertificate: { mode: "require", ca },
        }),
        { name: "GatewayError", code: "certificate-invalid" },
      );
    });
    using client = await Deno.connect(server.address);
    await readToEnd(client).catch(() => {});
  }
});

// --- other clients ---

const versions: [options: Options, client: ClientOptions, expected: Partial<ClientResult>, fault?: string][] =
  [
    [{}, { version: "TLSv1.2" }, { version: "TLSv1.2", received: "got hello" }],
    [{}, { version: "TLSv1.3" }, { version: "TLSv1.3", received: "got hello" }],
    [{ minVersion: "TLSv1.3" }, {}, { version: "TLSv1.3", received: "got hello" }],
    [{ minVersion: "TLSv1.3" }, { version: "TLSv1.2" }, { alert: 70 }, "version"],
    [{ alpn: ["postgresql"] }, { alpn: ["postgresql"] }, { alpn: "postgresql", received: "got hello" }],
    [{ alpn: ["h2"] }, { alpn: ["http/1.1"] }, { alert: 120 }, "no_alpn"],
    [{ alpn: ["h2"] }, { alpn: ["http/1.1"], version: "TLSv1.2" }, { alert: 120 }, "no_alpn"],
  ];

for (const [options, client, expected, fault] of versions) {
  Deno.test(`openssl with ${JSON.stringify(client)} meets ${JSON.stringify(options)}`, openssl, async () => {
    const certificate = await createCertificate(NAME);
    await using server = serveTls(await storeOf(certificate), answerOnce, options);
    const result = await sClient(server.address, {
      serverName: NAME,
      ca: certificate.ca,
      input: "hello\n",
      ...client,
    });
    for (const [field, value] of Object.entries(expected)) {
      assert.equal(result[field as keyof ClientResult], value, result.log);
    }
    assert.equal(server.faults[0]?.code, fault);
  });
}

Deno.test("curl fetches through a terminated stream", { ignore: !hasProgram("curl") }, async () => {
  const certificate = await createCertificate(NAME);
  const body = "x".repeat(200_000);
  await using server = serveTls(await storeOf(certificate), async ({ stream }) => {
    await stream.read(new Uint8Array(65536));
    await writeAll(stream, encode(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
    await stream.closeWrite();
    stream.close();
  }, { alpn: ["http/1.1"] });
  const result = await curl(`https://${NAME}/`, { connectTo: server.address, ca: certificate.ca });
  assert.deepEqual([result.status, result.text === body], [200, true], result.log);
});
