import assert from "node:assert/strict";
import { createLog, type LogEvent, SILENT_LOG } from "../../../core/log.ts";
import { loadCertificates, parseCertificate } from "../../../core/tls/certificates.ts";
import { createAuthority, createCertificate, type MadeCertificate } from "../../support/certificates.ts";
import { granted, hasProgram } from "../../support/permissions.ts";
import { runOrThrow, temporaryFolder } from "../../support/processes.ts";

const SOURCE = { cert: "cert.pem", key: "key.pem" };
const files = { ignore: !granted("read", "write") };

function parse(certificate: string, key: string) {
  return parseCertificate(certificate, key, SOURCE);
}

Deno.test("parseCertificate() tells names, expiry and fingerprint", async () => {
  const root = await createAuthority();
  const notAfter = new Date("2040-01-02T03:04:05Z");
  const { certificate, key } = await root.issue({
    names: ["DB.Example.com", "*.apps.example.com", "db.example.com", "f*.example.com"],
    addresses: ["192.0.2.1"],
    notAfter,
  });
  const material = await parse(certificate, key);
  assert.deepEqual(material.names, ["db.example.com", "*.apps.example.com"]);
  assert.equal(material.notAfter, notAfter.getTime());
  assert.match(material.fingerprint, /^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  assert.equal(material.source, "cert.pem");
  structuredClone(material);
});

Deno.test("parseCertificate() takes a chain in order, with the root at its end or without it", async () => {
  const root = await createAuthority();
  const leaf = await (await root.intermediate("below")).issue({ names: ["a.example.com"] });
  await parse(leaf.certificate, leaf.key);
  await parse(`${leaf.certificate}\n${root.certificate}`, leaf.key);
});

interface Bad {
  readonly name: string;
  readonly message: RegExp;
  make(): Promise<[certificate: string, key: string]>;
}

function blocksOf(pem: string): string[] {
  return pem.match(/-----BEGIN [^]+?-----END [^-]+-----/g) ?? [];
}

async function chained(): Promise<MadeCertificate> {
  return await (await (await createAuthority()).intermediate("below")).issue({ names: ["a.example.com"] });
}

const bad: Bad[] = [
  {
    name: "no certificate",
    message: /^No certificate in "cert\.pem"/,
    make: async () => ["nothing", (await createCertificate("a.example.com")).key],
  },
  {
    name: "a damaged certificate",
    message: /^The certificate in "cert\.pem" is malformed/,
    make: async () => {
      const { key } = await createCertificate("a.example.com");
      return ["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", key];
    },
  },
  {
    name: "no key",
    message: /^No private key in "key\.pem"/,
    make: async () => [(await createCertificate("a.example.com")).certificate, "nothing"],
  },
  {
    name: "a damaged key",
    message: /^The private key in "key\.pem" is malformed/,
    make: async () => {
      const { certificate } = await createCertificate("a.example.com");
      return [certificate, "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"];
    },
  },
  {
    name: "an encrypted key (PKCS #8)",
    message: /^The private key in "key\.pem" is encrypted/,
    make: async () => {
      const { certificate } = await createCertificate("a.example.com");
      return [
        certificate,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
      ];
    },
  },
  {
    name: "an encrypted key (traditional)",
    message: /^The private key in "key\.pem" is encrypted/,
    make: async () => {
      const { certificate } = await createCertificate("a.example.com");
      const header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00";
      return [
        certificate,
        `-----BEGIN RSA PRIVATE KEY-----\n${header}\n\nMIIB\n-----END RSA PRIVATE KEY-----\n`,
      ];
    },
  },
  {
    name: "the key of another certificate",
    message: /^The key in "key\.pem" does not belong to the certificate in "cert\.pem"/,
    make: async () => {
      const [one, other] = [
        await createCertificate("a.example.com"),
        await createCertificate("a.example.com"),
      ];
      return [one.certificate, other.key];
    },
  },
  {
    name: "a chain with the leaf at its end",
    message: /^"cert\.pem" is in the wrong order: the certificate of the key comes first/,
    make: async () => {
      const { certificate, key } = await chained();
      return [blocksOf(certificate).toReversed().join("\n"), key];
    },
  },
  {
    name: "a chain with a stranger in it",
    message: /^"cert\.pem" is in the wrong order: certificate 2 did not issue certificate 1/,
    make: async () => {
      const { certificate, key } = await createCertificate("a.example.com");
      return [`${certificate}\n${(await createAuthority()).certificate}`, key];
    },
  },
  {
    name: "no DNS name",
    message: /^The certificate in "cert\.pem" has no DNS name/,
    make: async () => {
      const { certificate, key } = await (await createAuthority()).issue({ addresses: ["192.0.2.1"] });
      return [certificate, key];
    },
  },
];

for (const { name, message, make } of bad) {
  Deno.test(`parseCertificate() refuses ${name}`, async () => {
    const [certificate, key] = await make();
    await assert.rejects(parse(certificate, key), (error: Error & { code?: string }) => {
      assert.equal(error.code, "certificate-invalid");
      assert.match(error.message, message);
      const secret = key.split("\n").slice(1, 3).join("");
      assert.ok(secret.length < 10 || !JSON.stringify([error.message, error.stack]).includes(secret));
      return true;
    });
  });
}

Deno.test("parseCertificate() refuses a key that TLS would refuse later", {
  ignore: !hasProgram("openssl"),
}, async () => {
  await using folder = await temporaryFolder();
  await runOrThrow("openssl", {
    args: [
      ...[
        "req",
        "-x509",
        "-newkey",
        "rsa:1024",
        "-nodes",
        "-subj",
        "/CN=a",
        "-addext",
        "subjectAltName=DNS:a.example.com",
      ],
      ...["-keyout", "key.pem", "-out", "cert.pem"],
    ],
    cwd: folder.path,
  });
  const [certificate, key] = await Promise.all(
    ["cert.pem", "key.pem"].map((name) => Deno.readTextFile(`${folder.path}/${name}`)),
  );
  await assert.rejects(parse(certificate ?? "", key ?? ""), /cannot be used for TLS: .*key too small/);
});

async function writeFiles(folder: string, name: string, { certificate, key }: MadeCertificate) {
  const paths = { cert: `${folder}/${name}.pem`, key: `${folder}/${name}-key.pem` };
  await Deno.writeTextFile(paths.cert, certificate);
  await Deno.writeTextFile(paths.key, key);
  return paths;
}

Deno.test(
  "loadCertificates() warns of an expired certificate and of a name that two have",
  files,
  async () => {
    await using folder = await temporaryFolder();
    const root = await createAuthority();
    const expired = await root.issue({ names: ["a.example.com"], notAfter: new Date(Date.now() - 1000) });
    const good = await root.issue({ names: ["a.example.com", "b.example.com"] });
    const paths = [
      await writeFiles(folder.path, "expired", expired),
      await writeFiles(folder.path, "good", good),
    ];

    const events: LogEvent[] = [];
    const loaded = await loadCertificates(paths, createLog("test", "info", (event) => events.push(event)));

    assert.deepEqual(loaded.map(({ names }) => names), [["a.example.com"], [
      "a.example.com",
      "b.example.com",
    ]]);
    assert.deepEqual(
      events.map(({ level, event, fields }) => [level, event, fields["file"] ?? fields["name"]]),
      [
        ["warn", "certificate_expired", paths[0]?.cert],
        ["warn", "certificate_name_shared", "a.example.com"],
      ],
    );
  },
);

Deno.test("loadCertificates() names the file that is missing", files, async () => {
  await using folder = await temporaryFolder();
  const { key } = await writeFiles(folder.path, "only", await createCertificate("a.example.com"));
  const cert = `${folder.path}/missing.pem`;
  await assert.rejects(loadCertificates([{ cert, key }], SILENT_LOG), {
    code: "certificate-invalid",
    message: new RegExp(`^Cannot read "${cert}"`),
  });
});
