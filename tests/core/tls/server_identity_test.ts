import assert from "node:assert/strict";
import { isCertificateFor } from "../../../core/tls/server_identity.ts";
import { createAuthority, type LeafOptions } from "../../support/certificates.ts";

const NAME = "db.example.com";
const root = await createAuthority();

const CASES: readonly { readonly is: boolean; readonly host?: string; readonly leaf: LeafOptions }[] = [
  { is: true, leaf: { names: [NAME] } },
  { is: true, leaf: { names: ["x.example.com", "DB.Example.com"] } },
  { is: true, leaf: { names: ["db.example.com."] } },
  { is: true, leaf: { names: ["*.example.com"] } },
  { is: false, leaf: { names: ["*.com"] } },
  { is: false, leaf: { names: ["*"] } },
  { is: false, leaf: { names: ["d*.example.com"] } },
  { is: false, leaf: { names: ["*.db.example.com"] } },
  { is: false, leaf: { names: ["*.*.com"] } },
  { is: false, leaf: { names: ["example.com"] } },
  { is: false, leaf: { names: [".example.com"] } },
  { is: false, leaf: { names: ["db.example.com\0.evil.example"] } },
  { is: false, leaf: { names: [`x.example.com, DNS:${NAME}`] } },
  { is: false, leaf: { commonName: NAME, usage: "server" } },
  { is: false, leaf: { commonName: NAME, names: ["x.example.com"] } },
  { is: false, leaf: { commonName: NAME, addresses: ["127.0.0.1"] } },
  { is: false, leaf: { names: ["x.example.com"], uris: [`http://a, DNS:${NAME}`] } },
  { is: true, host: "127.0.0.1", leaf: { addresses: ["127.0.0.1"] } },
  { is: true, host: "::1", leaf: { names: [NAME], addresses: ["127.0.0.1", "::1"] } },
  { is: false, host: "127.0.0.1", leaf: { addresses: ["127.0.0.2"] } },
  { is: false, host: "127.0.0.1", leaf: { names: ["127.0.0.1"] } },
  { is: false, host: "127.0.0.1", leaf: { commonName: "127.0.0.1", names: ["x.example.com"] } },
  { is: false, host: "48.48.48.48", leaf: { names: ["0000"] } },
  {
    is: false,
    host: "127.0.0.1",
    leaf: { names: ["x.example.com"], uris: ["http://a, IP Address:127.0.0.1"] },
  },
];

for (const { is, host = NAME, leaf } of CASES) {
  Deno.test(`a certificate with ${JSON.stringify(leaf)} is ${is ? "" : "not "}for ${host}`, async () => {
    const { der } = await root.issue(leaf);
    assert.equal(isCertificateFor(der, host), is);
  });
}

Deno.test("a certificate that was cut or altered anywhere is not for a host it was not for", async () => {
  const { der } = await root.issue({ names: ["x.example.com"], addresses: ["10.0.0.1"] });
  for (let at = 0; at < der.length; at++) {
    assert.equal(isCertificateFor(der.subarray(0, at), NAME), false);
    for (const byte of [0x00, 0x7f, 0x80, 0x83, 0x84, 0xff]) {
      assert.equal(isCertificateFor(der.with(at, byte), NAME), false);
    }
  }
});
