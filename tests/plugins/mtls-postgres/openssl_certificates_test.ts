import assert from "node:assert/strict";
import { RevocationLists } from "../../../plugins/mtls-postgres/crl.ts";
import { identify, IdentityFault } from "../../../plugins/mtls-postgres/identity.ts";
import { hasProgram } from "../../support/permissions.ts";
import { runOrThrow, temporaryFolder } from "../../support/processes.ts";
import { ALICE, ISSUER } from "./hand_made.ts";

const CONFIG = `
[ca]
default_ca = database
[database]
dir = FOLDER
database = $dir/index.txt
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir
certificate = $dir/ca.pem
private_key = $dir/ca.key
default_md = DIGEST
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
commonName = Unnamed
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[client]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = @names
[names]
URI.1 = ${ALICE}
DNS.1 = alice.example
email.1 = alice@example.com
[two_uris]
extendedKeyUsage = clientAuth
subjectAltName = URI:${ALICE}, URI:https://example.com/
[server]
extendedKeyUsage = serverAuth
subjectAltName = URI:${ALICE}
[plain]
subjectAltName = URI:${ALICE}
[quoted]
extendedKeyUsage = clientAuth
subjectAltName = @quoted_names
[quoted_names]
DNS.1 = "x, URI:${ALICE}"
[crl]
authorityKeyIdentifier = keyid
`;

const PSS = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];

/** A CA in a folder of its own, run by the `openssl` program. */
class OpensslAuthority implements AsyncDisposable {
  readonly #folder: AsyncDisposable & { readonly path: string };
  readonly #signing: readonly string[];

  private constructor(folder: AsyncDisposable & { readonly path: string }, signing: readonly string[]) {
    this.#folder = folder;
    this.#signing = signing;
  }

  static async create(
    keyArgs: readonly string[],
    signing: readonly string[],
    digest = "sha256",
  ): Promise<OpensslAuthority> {
    const folder = await temporaryFolder();
    const authority = new OpensslAuthority(folder, signing);
    await Deno.writeTextFile(
      authority.#path("openssl.cnf"),
      CONFIG.replace("FOLDER", folder.path).replaceAll("DIGEST", digest),
    );
    await Deno.writeTextFile(authority.#path("index.txt"), "");
    await Deno.writeTextFile(authority.#path("serial"), "80FF01\n"); // its first bit is set: DER puts a zero before it
    await Deno.writeTextFile(authority.#path("crlnumber"), "01\n");
    await authority.#openssl("genpkey", ...keyArgs, "-out", authority.#path("ca.key"));
    const self = ["-x509", "-key", authority.#path("ca.key"), "-subj", "/CN=OpenSSL CA", "-days", "2"];
    await authority.#openssl(
      "req",
      ...self,
      ...signing,
      "-extensions",
      "authority",
      "-out",
      authority.#path("ca.pem"),
    );
    return authority;
  }

  async ca(): Promise<string> {
    return await Deno.readTextFile(this.#path("ca.pem"));
  }

  /** @param section Of the config above. @returns DER */
  async issue(section: string): Promise<Uint8Array> {
    const [request, key] = [this.#path("client.csr"), this.#path("client.key")];
    await this.#openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key);
    await this.#openssl("req", "-new", "-key", key, "-subj", "/CN=alice", "-out", request);
    const out = this.#path("client.pem");
    await this.#openssl(
      "ca",
      "-batch",
      "-notext",
      "-days",
      "1",
      "-extensions",
      section,
      ...this.#signing,
      "-in",
      request,
      "-out",
      out,
    );
    const pem = await Deno.readTextFile(out);
    return Uint8Array.fromBase64(pem.replaceAll(/-----[^-]+-----/g, ""));
  }

  /** Revokes what was issued last. */
  async revoke(): Promise<void> {
    await this.#openssl("ca", "-revoke", this.#path("client.pem"), "-crl_reason", "keyCompromise");
  }

  /** A new list, PEM. */
  async list(): Promise<string> {
    const out = this.#path("list.pem");
    await this.#openssl("ca", "-gencrl", "-crldays", "1", "-crlexts", "crl", ...this.#signing, "-out", out);
    return await Deno.readTextFile(out);
  }

  async #openssl(command: string, ...args: readonly string[]): Promise<void> {
    const config = ["req", "ca"].includes(command) ? ["-config", this.#path("openssl.cnf")] : [];
    await runOrThrow("openssl", { args: [command, ...config, ...args] });
  }

  #path(name: string): string {
    return `${this.#folder.path}/${name}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** A clock a minute ahead: what was signed this second counts from this second on. */
function outcome(leaf: Uint8Array, crls?: RevocationLists): string {
  try {
    return identify([leaf], { issuer: ISSUER, now: Date.now() + 60_000, ...(crls && { crls }) }).user;
  } catch (error) {
    assert.ok(error instanceof IdentityFault, String(error));
    return error.code;
  }
}

const EC = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const ignore = !hasProgram("openssl");

const kinds: readonly {
  name: string;
  key: readonly string[];
  signing?: readonly string[];
  digest?: string;
}[] = [
  { name: "ECDSA with P-256", key: EC },
  {
    name: "ECDSA with P-384",
    key: [...EC.slice(0, 3), "ec_paramgen_curve:P-384"],
    digest: "sha384",
  },
  { name: "RSA", key: RSA },
  { name: "RSA-PSS", key: RSA, signing: PSS },
  { name: "Ed25519", key: ["-algorithm", "ED25519"], digest: "default" },
];

for (const { name, key, signing = [], digest } of kinds) {
  Deno.test({
    name: `a CA of OpenSSL with ${name}: who is revoked is refused, who is not gets in`,
    ignore,
    async fn() {
      await using authority = await OpensslAuthority.create(key, signing, digest);
      const revoked = await authority.issue("client");
      const before = await authority.list();
      await authority.revoke();
      const good = await authority.issue("client");
      const ca = await authority.ca();
      const crls = await RevocationLists.parse({ "a.crl": await authority.list() }, ca);
      assert.equal(crls.lists[0]?.revoked, 1);
      assert.equal(outcome(revoked), "alice");
      assert.equal(outcome(revoked, await RevocationLists.parse({ "a.crl": before }, ca)), "alice");
      assert.equal(outcome(revoked, crls), "revoked");
      assert.equal(outcome(good, crls), "alice");
    },
  });
}

Deno.test({
  name: "certificates of OpenSSL are told apart like those made by hand",
  ignore,
  async fn() {
    await using authority = await OpensslAuthority.create(EC, []);
    const expected = {
      client: "alice",
      two_uris: "several_spiffe_ids",
      server: "not_for_clients",
      plain: "not_for_clients",
      quoted: "no_spiffe_id",
      authority: "not_for_clients",
    };
    for (const [section, answer] of Object.entries(expected)) {
      assert.equal(outcome(await authority.issue(section)), answer, section);
    }
  },
});
