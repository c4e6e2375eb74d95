import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { type CertificateMaterial, parseCertificate } from "../../../core/tls/certificates.ts";
import { createAuthority, type TestAuthority } from "../../support/certificates.ts";
import { readToEnd } from "../../support/echo.ts";
import type { TestPlane } from "../../support/plane.ts";
import { helloMessage, inRecords, SSL_REQUEST } from "./preface/samples.ts";

/** A ClientHello without a server name. */
export const NO_NAME_HELLO: Uint8Array = inRecords(helloMessage({ extensions: [] }));
export const HTTP = "GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n";
/** Fatal alerts, as records. */
export const UNRECOGNIZED_NAME: readonly number[] = [21, 3, 3, 0, 2, 2, 112];
export const INTERNAL_ERROR: readonly number[] = [21, 3, 3, 0, 2, 2, 80];

/** The certificate of a gateway under test, and who trusts it. */
export interface TestCertificate {
  readonly authority: TestAuthority;
  readonly material: CertificateMaterial;
}

let made: Promise<TestCertificate> | undefined;

/** For `app.example.com`; made once for all tests of a file. */
export function testCertificate(): Promise<TestCertificate> {
  return made ??= (async () => {
    const authority = await createAuthority();
    const { certificate, key } = await authority.issue({ names: ["app.example.com"] });
    return {
      authority,
      material: await parseCertificate(certificate, key, { cert: "app.pem", key: "app.key" }),
    };
  })();
}

/** Sends these bytes, and gives all that comes back up to the gateway's FIN. */
export async function ask(gateway: TestPlane, data: Uint8Array): Promise<Uint8Array> {
  using client = await gateway.connect();
  await writeAll(client, data);
  return await readToEnd(client);
}

/** {@link ask} for text. */
export async function askText(gateway: TestPlane, text: string): Promise<string> {
  return new TextDecoder().decode(await ask(gateway, new TextEncoder().encode(text)));
}

/** A TLS client of the gateway, its handshake done, by the name `app.example.com`. */
export async function connectTls(gateway: TestPlane, conn?: Deno.TcpConn): Promise<Deno.TlsConn> {
  const { authority } = await testCertificate();
  const tls = await Deno.startTls(conn ?? await gateway.connect(), {
    hostname: "app.example.com",
    caCerts: [authority.certificate],
  });
  await tls.handshake();
  return tls;
}

/** Exactly `length` bytes. @throws When the stream ends before. */
export async function readExactly(
  from: { read(into: Uint8Array): Promise<number | null> },
  length: number,
): Promise<Uint8Array> {
  const all = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const n = await from.read(all.subarray(at));
    if (n === null) throw new Error(`Ended after ${at} of ${length} bytes`);
    at += n;
  }
  return all;
}

/** A PostgreSQL client of the gateway that was told to begin with TLS. */
export async function connectPostgres(gateway: TestPlane): Promise<Deno.TcpConn> {
  const client = await gateway.connect();
  await writeAll(client, SSL_REQUEST);
  assert.deepEqual([...await readExactly(client, 1)], [..."S"].map((s) => s.charCodeAt(0)));
  return client;
}
