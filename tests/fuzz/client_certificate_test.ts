import assert from "node:assert/strict";
import { readCertificateList } from "../../plugins/mtls-postgres/certificate_list.ts";
import { RevocationLists } from "../../plugins/mtls-postgres/crl.ts";
import { DerError } from "../../plugins/mtls-postgres/der.ts";
import { identify, type Identity, IdentityFault } from "../../plugins/mtls-postgres/identity.ts";
import {
  ALICE,
  authority,
  certificate,
  CLIENT_AUTH,
  crlPem,
  dns,
  goodWithout,
  issue,
  ISSUER,
  NOW,
  revocationList,
  SAN,
  san,
  SERVER_AUTH,
  uri,
  usages,
} from "../plugins/mtls-postgres/hand_made.ts";
import { derInteger } from "../support/der.ts";
import { fuzz } from "./fuzz.ts";

const CA = authority("Test CA");
const MIDDLE = authority("Middle CA", { above: CA });
const LIST = revocationList(CA, { revoked: [derInteger(0x11), derInteger(0x22, 0x33)] });
const CRLS = await RevocationLists.parse({ a: crlPem(LIST) }, CA.pem);

const BELOW = issue(MIDDLE);

const SEEDS = [
  certificate(),
  issue(CA),
  BELOW,
  MIDDLE.der,
  certificate({ extensions: [...goodWithout(SAN), san(dns("alice.example"), uri(ALICE))] }),
  certificate({ extensions: [usages(SERVER_AUTH, CLIENT_AUTH), san(uri(ALICE), uri(ALICE))] }),
];

/** Who `chain` is for, or `undefined` where it throws what it documents. */
function identity(chain: readonly Uint8Array[], crls?: RevocationLists): Identity | undefined {
  try {
    return identify(chain, { issuer: ISSUER, now: NOW, ...(crls && { crls }) });
  } catch (error) {
    if (error instanceof IdentityFault) return undefined;
    throw error;
  }
}

fuzz("client certificates", () => SEEDS, (input) => {
  const before = input.toHex();
  const known = identity([input]);
  assert.equal(input.toHex(), before, "only read");
  if (known === undefined) return;
  assert.equal(known.spiffeId, `spiffe://${ISSUER}/orgs/${known.org}/users/${known.user}`);
  assert.match(known.org, /^[A-Za-z0-9._-]+$/);
  assert.match(known.user, /^[A-Za-z0-9._-]+$/);
  // It is there in the DER, as one URI.
  assert.ok(input.toHex().includes(uri(known.spiffeId).toHex()));
});

fuzz("chains with revocation lists", () => SEEDS, (input, random) => {
  const behind = random.pick([[], [MIDDLE.der], [input], [input, MIDDLE.der]]);
  identity([input, ...behind], CRLS);
  identity([BELOW, input], CRLS);
});

fuzz("revocation lists", () => [LIST, revocationList(CA, { extensions: [] })], (input) => {
  try {
    const list = readCertificateList(input);
    assert.ok(Number.isFinite(list.thisUpdate) && Number.isFinite(list.nextUpdate));
    for (const serial of list.serials) assert.match(serial, /^([0-9a-f]{2}){1,20}$/);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
  }
});
