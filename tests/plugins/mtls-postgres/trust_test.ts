import assert from "node:assert/strict";
import { mtlsConfig } from "../../../plugins/mtls-postgres/config.ts";
import { IdentityFault } from "../../../plugins/mtls-postgres/identity.ts";
import { Trust } from "../../../plugins/mtls-postgres/trust.ts";
import { derSequence, derTime } from "../../support/der.ts";
import { SECTION } from "./bench.ts";
import { authority, type HandMadeAuthority, issue, ISSUER, NOW } from "./hand_made.ts";

const DAY_MS = 86_400_000;

/** From `days` before NOW to `days` after it. */
function validity(before: number, after: number): Uint8Array {
  return derSequence(derTime(NOW - before * DAY_MS), derTime(NOW + after * DAY_MS));
}

const short = authority("Short CA", { validity: validity(2, 10) });
const long = authority("Long CA", { validity: validity(2, 1000) });

/** Alice's certificate, for longer than the short CA. */
function chainFrom(by: HandMadeAuthority, ...above: readonly HandMadeAuthority[]): Uint8Array[] {
  const leaf = issue(by, { validity: validity(1, 100), publicKey: long.publicKey });
  return [leaf, ...above.map(({ der }) => der)];
}

async function trustIn(...authorities: readonly HandMadeAuthority[]): Promise<Trust> {
  const config = mtlsConfig.parse({ ...SECTION, issuer: ISSUER, caCertificates: ["ca.pem"] });
  return await Trust.load(config, { "ca.pem": authorities.map(({ pem }) => pem).join("\n") });
}

function isRefused(code: string): (error: unknown) => boolean {
  return (error) => error instanceof IdentityFault && error.code === code;
}

Deno.test("a CA vouches for nobody before and after it is valid itself, and others go on", async () => {
  const trust = await trustIn(short, long);
  for (
    const { days, isIn } of [{ days: -3, isIn: false }, { days: 10, isIn: true }, { days: 11, isIn: false }]
  ) {
    const at = NOW + days * DAY_MS;
    if (isIn) assert.equal(trust.identify(chainFrom(short), at).user, "alice");
    else assert.throws(() => trust.identify(chainFrom(short), at), isRefused("ca_expired"), `${days}`);
  }
  assert.equal(trust.identify(chainFrom(long), NOW + 11 * DAY_MS).user, "alice");
  const below = authority("Below", { above: long });
  assert.equal(trust.identify(chainFrom(below, below), NOW + 11 * DAY_MS).user, "alice");
});

Deno.test("a connection is good until the first certificate on its way expires, its CA's among them", async () => {
  const trust = await trustIn(short, long);
  const below = authority("Below", { above: long, validity: validity(1, 20) });
  for (
    const [chain, days] of [
      [chainFrom(long), 100],
      [chainFrom(short), 10],
      [chainFrom(below, below), 20],
    ] as const
  ) {
    assert.equal(trust.expiryOf(chain, NOW), NOW + days * DAY_MS);
  }
  assert.equal(trust.expiryOf([new Uint8Array(5)], NOW), 0, "what cannot be read is not good at all");
});

Deno.test("a CA counts by its key, not by its name", async () => {
  const trust = await trustIn(long);
  assert.equal(trust.covers(chainFrom(long)), true);
  assert.equal(trust.covers(chainFrom(authority("Long CA"))), false);
  const namesake = authority("Below", { above: short });
  assert.equal(trust.covers(chainFrom(namesake, namesake)), false);
});
