import { SignJWT } from "jose";
import type { Uuid } from "../control/messages.ts";
import type { Credentials } from "./settings.ts";

/** What one connection shows of itself. */
export interface Proof {
  readonly token: string;
  readonly clientId: Uuid;
  /** When the token is over, milliseconds since 1970; absent: nobody here knows. */
  readonly expiresAt?: number;
}

/** @param now Milliseconds since 1970. */
export async function makeProof(credentials: Credentials, name: string, now: number): Promise<Proof> {
  if ("token" in credentials) {
    return { token: credentials.token, clientId: await clientIdOf(credentials.token, name) };
  }
  const { secret, issuer, expiresInMs } = credentials.jwt;
  const issuedAt = Math.floor(now / 1000);
  const expiry = issuedAt + Math.max(1, Math.floor(expiresInMs / 1000));
  const jwt = new SignJWT().setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(name).setIssuedAt(issuedAt).setExpirationTime(expiry);
  if (issuer !== undefined) jwt.setIssuer(issuer);
  const token = await jwt.sign(new TextEncoder().encode(secret));
  return { token, clientId: await clientIdOf(secret, name), expiresAt: expiry * 1000 };
}

/** The same for each run of an agent, and nothing that another one without the secret could come up with. */
async function clientIdOf(secret: string, name: string): Promise<Uuid> {
  const text = new TextEncoder().encode(`postern agent\n${secret}\n${name}`);
  const hex = new Uint8Array(await crypto.subtle.digest("SHA-256", text)).subarray(0, 16).toHex();
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
