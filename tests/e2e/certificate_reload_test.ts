import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { watchFiles } from "../../core/watch_files.ts";
import { startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { sClient } from "../support/openssl.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";
import { staticRoutes } from "../support/static_routes.ts";

const ignore = !can("openssl");

/** A gateway that ends TLS for two names in front of an echo server, and watches its files as the command does. */
async function watching(name: string) {
  await using stack = new AsyncDisposableStack();
  const echo = stack.use(startEcho());
  const files = stack.use(await certificateFiles(name));
  const sni = ["localhost", "new.example.com"];
  const gateway = stack.use(
    await TestGateway.start({
      yaml: `${files.yaml}\n${staticRoutes({ sni, terminate: true, to: echo.target })}`,
      threads: 2,
    }),
  );
  const { supervisor } = gateway;
  const paths = supervisor.config.tls.certificates.flatMap(({ cert, key }) => [cert, key]);
  const stop = new AbortController();
  const watched = watchFiles(paths, () => supervisor.reloadCertificates(), {
    signal: stop.signal,
    settleMs: 30,
  });
  stack.defer(async () => {
    stop.abort();
    await watched;
  });
  const owned = stack.move();
  return { gateway, files, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** The alert that a client gets which asks for this name, or the names of the certificate that it is shown. */
async function shown(gateway: TestGateway, serverName: string, ca: string): Promise<number | string> {
  const address = { hostname: "127.0.0.1", port: gateway.port() };
  const { alert, subject, log } = await sClient(address, { serverName, ca, args: ["-no_ign_eof"] });
  return alert ?? subject ?? log;
}

Deno.test({
  name: "a certificate that is replaced on disk is shown to new clients, and no connection is dropped for it",
  ignore,
  async fn() {
    await using there = await watching("localhost");
    const { gateway, files } = there;
    using client = await Deno.connectTls({
      hostname: "localhost",
      port: gateway.port(),
      caCerts: [files.ca],
    });
    await echo(client, "before");
    assert.equal(await shown(gateway, "new.example.com", files.ca), 112);

    await files.replace("new.example.com");
    await gateway.logged("certificates_reloaded");
    assert.equal(await shown(gateway, "new.example.com", files.ca), "CN = new.example.com");
    assert.equal(await shown(gateway, "localhost", files.ca), 112, "the old one is gone");
    await echo(client, "after");
  },
});

Deno.test({
  name: "a certificate file that is broken changes nothing, and the log says so",
  ignore,
  async fn() {
    await using there = await watching("localhost");
    const { gateway, files } = there;
    await files.spoil();
    const { reason } = await gateway.logged("certificates_refused");
    assert.match(String(reason), /cert\.pem/);
    assert.equal(await shown(gateway, "localhost", files.ca), "CN = localhost");
    await files.replace("new.example.com");
    await until(() => gateway.events.some(({ event }) => event === "certificates_reloaded"), {
      what: "the good one to be taken",
    });
    assert.equal(await shown(gateway, "new.example.com", files.ca), "CN = new.example.com");
  },
});

async function echo(client: Deno.TlsConn, text: string): Promise<void> {
  await writeAll(client, new TextEncoder().encode(text));
  const buffer = new Uint8Array(text.length);
  for (let at = 0; at < buffer.length;) at += await client.read(buffer.subarray(at)) ?? assert.fail("closed");
  assert.equal(new TextDecoder().decode(buffer), text);
}
