/**
 * mTLS proves itself at start: the gateway connects to itself without a certificate and with one from an unknown CA; if
 * either gets in, it does not serve. An empty or missing CA file is fatal.
 */
import assert from "node:assert/strict";
import { connect } from "node:tls";
import { writeAll } from "../../core/byte_stream.ts";
import type { GatewayError } from "../../core/errors.ts";
import { certificateFiles } from "../e2e/certificate_files.ts";
import { createAuthority, type MadeCertificate } from "../support/certificates.ts";
import { startEcho } from "../support/echo.ts";
import { TestGateway, type TestGatewayOptions } from "../support/gateway.ts";
import { writePem } from "../support/openssl.ts";
import { granted } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const NAME = "db.connect.example.com";
/** What a client without a certificate hears, where it should. */
const REFUSED = /^received fatal alert: CertificateRequired$/;
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;
const module = new URL("../testdata/plugins/requires_certificates.ts", import.meta.url).href;

interface Setting extends AsyncDisposable {
  /** A gateway's options; `section` is added to the plugin's. */
  options(section?: string, isolation?: "inline" | "worker"): TestGatewayOptions;
  readonly caFile: string;
  readonly client: MadeCertificate;
}

/** Files of a gateway that has a certificate for these names, and a CA for clients. */
async function setting(...names: readonly string[]): Promise<Setting> {
  const stack = new AsyncDisposableStack();
  const certificates = stack.use(await certificateFiles(...names));
  const folder = stack.use(await temporaryFolder());
  const authority = await createAuthority("Clients");
  const caFile = await writePem(folder.path, "clients", authority.certificate);
  return {
    caFile,
    client: await authority.issue(),
    options: (section = "", isolation = "worker") => ({
      yaml: `${certificates.yaml}\nplugins: { strict: { name: ${NAME}, ca: "${caFile}"${section} } }`,
      declarations: { strict: { module, isolation, permissions: {} } },
    }),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

/** The error of a gateway that does not start, and that there is nothing left of it. */
async function refusal(options: TestGatewayOptions): Promise<GatewayError> {
  using probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = probe.addr;
  probe.close();
  const yaml = `listeners: [{ address: "127.0.0.1:${port}" }]\n${options.yaml}`;
  const error = await TestGateway.start({ ...options, yaml }).then(
    async (gateway) => {
      await gateway[Symbol.asyncDispose]();
      assert.fail("the gateway serves");
    },
    (error: GatewayError) => error,
  );
  await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port }), Deno.errors.ConnectionRefused);
  return error;
}

/** What becomes of a client with this certificate: what it is told behind its handshake, or why there was none. */
function visit(port: number, certificate?: MadeCertificate): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect({
    host: "127.0.0.1",
    port,
    servername: NAME,
    rejectUnauthorized: false,
    ...(certificate && { cert: certificate.certificate, key: certificate.key }),
  });
  socket.on("secureConnect", () => socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  socket.on("data", (data) => resolve(data.toString()));
  socket.on("error", ({ message }) => resolve(message));
  socket.on("close", () => resolve("closed"));
  return promise.finally(() => socket.destroy());
}

for (const isolation of ["worker", "inline"] as const) {
  Deno.test({
    name: `mTLS proves itself: a plugin that requires certificates serves, ${isolation}`,
    ignore,
    async fn() {
      await using files = await setting("*.connect.example.com");
      await using gateway = await TestGateway.start({ ...files.options("", isolation), threads: 2 });
      const proofs = gateway.events.filter(({ event }) => event === "mutual_tls_proved");
      assert.deepEqual(proofs.map(({ plugin, names }) => [plugin, names]), [["strict", 1], ["strict", 1]]);
      assert.deepEqual(gateway.events.filter(({ event }) => event === "connection_refused"), []);
      assert.match(await visit(gateway.port(), files.client), /^HTTP\/1\.1 403 /);
      assert.match(await visit(gateway.port()), REFUSED);
    },
  });

  for (const asks of ["nobody", "request"]) {
    Deno.test({
      name: `mTLS proves itself: no gateway with a plugin that asks ${asks} after all, ${isolation}`,
      ignore,
      async fn() {
        await using files = await setting("*.connect.example.com");
        const error = await refusal(files.options(`, asks: ${asks}`, isolation));
        assert.equal(error.code, "mutual-tls-unproven");
        assert.equal(
          error.message,
          `Plugin "strict" must let nobody in at "${NAME}" without a good client certificate, ` +
            'but a client without a certificate (TLSv1.3) was let in by plugin "strict"',
        );
      },
    });
  }
}

Deno.test({
  name:
    "mTLS proves itself: no gateway without a server certificate for the name, and it says which is missing",
  ignore,
  async fn() {
    await using files = await setting("other.example.com");
    const error = await refusal(files.options());
    assert.equal(error.code, "mutual-tls-unproven");
    assert.match(
      error.message,
      /"db\.connect\.example\.com".*no certificate for it; add one for "\*\.connect\.example\.com" under tls\.certificates$/,
    );
  },
});

Deno.test({
  name: "mTLS proves itself: no gateway with an empty CA file",
  ignore,
  async fn() {
    await using files = await setting("*.connect.example.com");
    await Deno.writeTextFile(files.caFile, "");
    const error = await refusal(files.options());
    assert.equal(error.code, "mutual-tls-unproven");
    assert.match(error.message, /cannot be proved: .* plugin_failed \(Its answer is not a decision\)$/);
  },
});

Deno.test({
  name: "mTLS proves itself: no gateway with a CA file that is no CA",
  ignore,
  async fn() {
    await using files = await setting("*.connect.example.com");
    await Deno.writeTextFile(files.caFile, "# to be filled in\n");
    const error = await refusal(files.options());
    assert.equal(error.code, "mutual-tls-unproven");
    assert.match(error.message, /plugin_failed \(No CA certificate to verify clients against\)$/);
  },
});

Deno.test({
  name: "mTLS proves itself: no gateway without its CA file",
  ignore,
  async fn() {
    await using files = await setting("*.connect.example.com");
    await Deno.remove(files.caFile);
    assert.match((await refusal(files.options())).message, /clients\.pem.*There is no such file/);
  },
});

Deno.test({
  name: "mTLS proves itself: a plugin that hangs is no proof",
  ignore,
  async fn() {
    await using files = await setting("*.connect.example.com");
    const error = await refusal(files.options(", on: hangs"));
    assert.equal(error.code, "mutual-tls-unproven");
    assert.match(error.message, /timeout \(No answer in 1000 ms\)$/);
  },
});

Deno.test({
  name: "mTLS proves itself: a reload under which anybody gets in is refused, and the old config is back",
  ignore,
  async fn() {
    await using files = await setting("*.connect.example.com");
    await using gateway = await TestGateway.start(files.options());
    await assert.rejects(gateway.reload(files.options(", asks: request")), { code: "mutual-tls-unproven" });
    assert.match(await visit(gateway.port(), files.client), /^HTTP\/1\.1 403 /);
    assert.match(await visit(gateway.port()), REFUSED);
    assert.deepEqual(await gateway.reload(files.options()), []);
  },
});

Deno.test({
  name: "mTLS proves itself: also a data plane that is started anew proves it before it serves",
  ignore,
  async fn() {
    await using files = await setting("*.connect.example.com");
    const { yaml, declarations } = files.options();
    await using gateway = await TestGateway.start({
      yaml: yaml.replace(/ }$/, ', troubled: { to: "127.0.0.1:1", trouble: throws in a timer } }'),
      declarations: { ...declarations, troubled: { module: troubled, isolation: "inline", permissions: {} } },
      times: { firstBackoffMs: 1 },
    });
    using bringer = await gateway.connect();
    await writeAll(bringer, new TextEncoder().encode("trouble\r\n\r\n"));
    await gateway.logged("worker_restarted");
    const order = gateway.events.map(({ event }) => event);
    assert.equal(order.filter((event) => event === "mutual_tls_proved").length, 2);
    assert.ok(order.lastIndexOf("mutual_tls_proved") < order.indexOf("worker_restarted"));
    assert.match(await visit(gateway.port()), REFUSED);
  },
});

Deno.test({
  name: "mTLS proves itself: nobody gets in by a reload that is refused, not even while it is tried",
  ignore,
  async fn() {
    await using files = await setting("*.connect.example.com");
    await using backend = startEcho();
    const { yaml, declarations = {} } = files.options();
    const withRoutes = (routes: string) => ({
      yaml: yaml.replace("plugins: {", `plugins: { static: { routes: [${routes}] },`),
      declarations,
    });
    await using gateway = await TestGateway.start(withRoutes(""));
    let isOver = false;
    const heard: string[] = [];
    const strangers = Array.from({ length: 4 }, async () => {
      while (!isOver) heard.push(await visit(gateway.port()));
    });
    try {
      const open = `{ sni: "*.connect.example.com", terminate: true, to: "${backend.target}" }`;
      for (let i = 0; i < 3; i++) {
        await assert.rejects(gateway.reload(withRoutes(open)), {
          code: "mutual-tls-unproven",
          message: /"static"$/,
        });
      }
    } finally {
      isOver = true;
      await Promise.all(strangers);
    }
    assert.ok(heard.length > 0);
    for (const one of heard) assert.match(one, REFUSED);
    assert.equal(backend.accepted, 3, "the gateway's own clients, one a reload, and nobody else");
  },
});
