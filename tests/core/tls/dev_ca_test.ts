import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { SILENT_LOG } from "../../../core/log.ts";
import { loadCertificates } from "../../../core/tls/certificates.ts";
import { CertificateStore } from "../../../core/tls/contexts.ts";
import { developmentIssuer, ensureDevelopmentCertificates } from "../../../core/tls/dev_ca.ts";
import { createTerminator } from "../../../core/tls/terminate.ts";
import { writeAll } from "../../../core/byte_stream.ts";
import { createAuthority } from "../../support/certificates.ts";
import { curl } from "../../support/curl.ts";
import { serveTcp } from "../../support/echo.ts";
import { granted, hasProgram } from "../../support/permissions.ts";
import { run, runOrThrow, temporaryFolder } from "../../support/processes.ts";

const files = { ignore: !granted("read", "write") };

function mode(path: string): string {
  return ((Deno.statSync(path).mode ?? 0) & 0o777).toString(8);
}

Deno.test("Development certificates are made once, for nobody else to read", files, async () => {
  await using outer = await temporaryFolder();
  const folder = `${outer.path}/.postern`;
  const first = await ensureDevelopmentCertificates(folder);
  assert.equal(first.created, true);
  assert.equal(mode(folder), "700");
  for (const { name } of Deno.readDirSync(folder)) assert.equal(mode(`${folder}/${name}`), "600", name);
  assert.equal([...Deno.readDirSync(folder)].length, 4);

  const before = await Deno.readTextFile(first.cert);
  assert.deepEqual(await ensureDevelopmentCertificates(folder), { ...first, created: false });
  assert.equal(await Deno.readTextFile(first.cert), before);
  const [material] = await loadCertificates([first], SILENT_LOG);
  assert.deepEqual(material?.names, ["localhost"]);
  assert.match(
    new X509Certificate(before).subjectAltName ?? "",
    /IP Address:127\.0\.0\.1, IP Address:(?:::1|0:)/,
  );
});

Deno.test(
  "Another name, a lost file and another CA's certificate get a new certificate from the same CA",
  files,
  async () => {
    await using folder = await temporaryFolder();
    const first = await ensureDevelopmentCertificates(folder.path);
    const ca = await Deno.readTextFile(first.ca);
    const names = ["localhost", "*.localhost", "demo.localhost"];
    const stranger = await (await createAuthority()).issue({ names });
    const damages = [
      () => {},
      () => Deno.removeSync(first.key),
      () => Deno.writeTextFileSync(first.cert, "half written"),
      () => {
        Deno.writeTextFileSync(first.cert, stranger.certificate);
        Deno.writeTextFileSync(first.key, stranger.key);
      },
    ];
    for (const damage of damages) {
      damage();
      const again = await ensureDevelopmentCertificates(folder.path, names);
      assert.deepEqual([again.created, await Deno.readTextFile(again.ca)], [false, ca]);
      const leaf = new X509Certificate(await Deno.readTextFile(again.cert));
      assert.ok(leaf.verify(new X509Certificate(ca).publicKey));
      assert.ok(leaf.checkHost("demo.localhost"));
    }
  },
);

Deno.test("A lost CA is made anew, and the certificate with it", files, async () => {
  await using folder = await temporaryFolder();
  const first = await ensureDevelopmentCertificates(folder.path);
  await Deno.remove(first.ca);
  const second = await ensureDevelopmentCertificates(folder.path);
  assert.equal(second.created, true);
  const leaf = new X509Certificate(await Deno.readTextFile(second.cert));
  assert.ok(leaf.verify(new X509Certificate(await Deno.readTextFile(second.ca)).publicKey));
});

Deno.test(
  "A name that is not within localhost is refused, and so is a folder that cannot be made",
  files,
  async () => {
    await using folder = await temporaryFolder();
    for (const name of ["example.com", "localhost.example.com", "notlocalhost"]) {
      await assert.rejects(ensureDevelopmentCertificates(folder.path, [name]), {
        code: "certificate-invalid",
      });
    }
    await Deno.writeTextFile(`${folder.path}/file`, "");
    await assert.rejects(ensureDevelopmentCertificates(`${folder.path}/file/below`), {
      code: "certificate-invalid",
    });
  },
);

Deno.test("curl trusts the development CA for a name it names", { ignore: !hasProgram("curl") }, async () => {
  await using folder = await temporaryFolder();
  const paths = await ensureDevelopmentCertificates(folder.path, [
    "localhost",
    "*.localhost",
    "demo.localhost",
  ]);
  const store = new CertificateStore();
  store.replace(await loadCertificates([paths], SILENT_LOG));
  const terminator = createTerminator(store);
  await using server = serveTcp(async (connection) => {
    const { stream } = await terminator.terminate(connection, {
      replay: new Uint8Array(),
      serverName: "demo.localhost",
    });
    await stream.read(new Uint8Array(65536));
    await writeAll(stream, new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    await stream.closeWrite();
    stream.close();
  });
  const ca = await Deno.readTextFile(paths.ca);
  const result = await curl("https://demo.localhost/", { connectTo: server.address, ca });
  assert.equal(result.text, "ok", result.log);
});

Deno.test("Whoever steals the development CA cannot use it for any other name", {
  ignore: !hasProgram("openssl"),
}, async () => {
  await using folder = await temporaryFolder();
  await ensureDevelopmentCertificates(folder.path);
  const cwd = folder.path;
  for (
    const [name, trusted] of [["x.localhost", true], ["bank.example.com", false], [
      "localhost.evil.org",
      false,
    ]] as const
  ) {
    await Deno.writeTextFile(`${cwd}/extensions`, `subjectAltName=DNS:${name}\n`);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "stolen.key"];
    await runOrThrow("openssl", { args: ["req", ...key, "-out", "request", "-subj", "/CN=x"], cwd });
    const issuer = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"];
    await runOrThrow("openssl", {
      args: ["x509", "-req", "-in", "request", ...issuer, "-extfile", "extensions", "-out", "stolen.pem"],
      cwd,
    });
    const { code, stderr } = await run("openssl", {
      args: ["verify", "-CAfile", "ca.pem", "stolen.pem"],
      cwd,
    });
    assert.equal(code === 0, trusted, `${name}: ${stderr}`);
    if (!trusted) assert.match(stderr, /permitted subtree violation/);
  }
});

Deno.test(
  "A certificate for a name that has come later is of the same CA, and kept nowhere",
  files,
  async () => {
    await using folder = await temporaryFolder();
    await ensureDevelopmentCertificates(folder.path);
    const before = [...Deno.readDirSync(folder.path)].map(({ name }) => name).sort();
    const issue = await developmentIssuer(folder.path);
    for (const stray of ["example.com", "localhost", "demolocalhost"]) {
      assert.equal(await issue(stray), undefined, stray);
    }
    const material = await issue("app.localhost");
    assert.deepEqual(material?.names, ["app.localhost"]);
    const ca = new X509Certificate(await Deno.readTextFile(`${folder.path}/ca.pem`));
    assert.ok(new X509Certificate(material.certPem).verify(ca.publicKey));
    assert.deepEqual([...Deno.readDirSync(folder.path)].map(({ name }) => name).sort(), before);
  },
);

Deno.test("Where there is no development CA, there is nobody to issue certificates", files, async () => {
  await using folder = await temporaryFolder();
  await assert.rejects(() => developmentIssuer(folder.path), /There is no development CA/);
});
