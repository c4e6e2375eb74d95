import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { createAuthority, createCertificate } from "../support/certificates.ts";
import { readToEnd } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { writePem } from "../support/openssl.ts";
import { psql, startPostgres } from "../support/postgres.ts";
import { freeAddress, hostPort, startProgram, temporaryFolder } from "../support/processes.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";

const NAME = "db.example.com";

interface Section {
  readonly to: string;
  readonly tls?: { readonly ca?: string; readonly serverName?: string };
}

function options(section: Section, yaml = "") {
  return {
    yaml: `${yaml}\nplugins: { gate: ${JSON.stringify(section)} }`,
    declarations: {
      gate: {
        module: new URL("../testdata/plugins/terminate_all.ts", import.meta.url).href,
        isolation: "inline",
        permissions: {},
      },
    } as const,
  };
}

Deno.test({
  name: "psql is terminated at the gateway, and PostgreSQL behind it is verified by its own certificate",
  ignore: !can("initdb", "postgres", "psql"),
  async fn() {
    const tls = await createCertificate("inner.example.com");
    const stranger = await createAuthority("Stranger");
    await using server = await startPostgres({ tls });
    await using certificate = await certificateFiles(NAME);
    const to = hostPort(server.address);
    const good = { ca: tls.ca, serverName: "inner.example.com" };
    await using gateway = await TestGateway.start(options({ to, tls: good }, certificate.yaml));
    const client = { address: { hostname: "127.0.0.1", port: gateway.port() }, host: NAME };
    const ssl = await psql(
      "SELECT ssl, repeat('z', 1000000) FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
      client,
    );
    assert.equal(ssl.rows[0], `t|${"z".repeat(1_000_000)}`, ssl.stderr);

    const bad = [
      { tls: { ...good, ca: stranger.certificate }, detail: /certificate is not trusted/ },
      { tls: { ca: tls.ca }, detail: /certificate is not for "127\.0\.0\.1"/ },
    ];
    for (const { tls, detail } of bad) {
      await using other = await TestGateway.start(options({ to, tls }, certificate.yaml));
      const address = { hostname: "127.0.0.1", port: other.port() };
      const refused = await psql("SELECT 1", { address, host: NAME });
      assert.match(refused.stderr, /The service cannot be reached/);
      await other.logged("connection_refused", (one) => detail.test(String(one.detail)));
    }
  },
});

Deno.test({
  name: "openssl s_server behind the gateway is spoken to in TLS",
  ignore: !can("openssl"),
  async fn() {
    const { ca, certificate, key } = await createCertificate(NAME);
    await using folder = await temporaryFolder();
    const address = freeAddress();
    await using server = await startProgram("openssl", {
      args: [
        "s_server",
        "-accept",
        hostPort(address),
        "-rev",
        "-cert",
        await writePem(folder.path, "cert", certificate),
        "-key",
        await writePem(folder.path, "key", key),
      ],
    });
    await server.waitForPort(address);
    const section = { to: hostPort(address), tls: { ca, serverName: NAME } };
    await using gateway = await TestGateway.start(options(section));
    using client = await gateway.connect();
    await writeAll(client, new TextEncoder().encode("hello\n"));
    await client.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(client)), "olleh\n");
  },
});
