import assert from "node:assert/strict";
import { identify, IdentityFault, type IdentityFaultCode } from "../../../plugins/mtls-postgres/identity.ts";
import {
  concat,
  der,
  derBits,
  derFlag,
  derInteger,
  derName,
  derOctets,
  derOid,
  derSequence,
  latin1,
} from "../../support/der.ts";
import { createAuthority } from "../../support/certificates.ts";
import {
  ALICE,
  ANY_USAGE,
  BC,
  certificate,
  type CertificateParts,
  CLIENT_AUTH,
  constraints,
  dns,
  EKU,
  extension,
  GOOD,
  goodWithout,
  ISSUER,
  keyUsage,
  KU,
  NOW,
  replaceBytes,
  SAN,
  san,
  SERVER_AUTH,
  uri,
  usages,
} from "./hand_made.ts";

type Outcome = IdentityFaultCode | "alice";

interface Case {
  readonly name: string;
  readonly expected: Outcome;
  /** Extensions behind those of a good client. */
  readonly with?: readonly Uint8Array[];
  /** Ids of the good ones to leave out. */
  readonly without?: readonly string[];
  readonly parts?: CertificateParts;
  /** What is done to the finished bytes. */
  readonly change?: (bytes: Uint8Array) => Uint8Array;
}

const EMPTY = new Uint8Array(0);

const spiffe = (rest: string) => ({ with: [san(uri(`spiffe://${rest}`))], without: [SAN] });
const purposes = (...list: Uint8Array[]) => ({ with: [usages(...list)], without: [EKU] });
const usage = (bits: Uint8Array) => ({ with: [keyUsage(bits)], without: [KU] });
const basic = (...content: Uint8Array[]) => ({ with: [constraints(...content)], without: [BC] });
const names = (...list: Uint8Array[]) => ({ with: [san(...list)], without: [SAN] });

/** OtherName ::= SEQUENCE { type-id, value [0] EXPLICIT }, with a SPIFFE ID for its value. */
const OTHER_NAME = der(0xa0, derOid("1.3.6.1.4.1.311.20.2.3"), der(0xa0, der(0x0c, latin1(ALICE))));
const ALICE_URI = uri(ALICE);

const cases: readonly Case[] = [
  // who gets in
  { name: "a good certificate", expected: "alice" },
  { name: "a DNS name beside the URI", expected: "alice", ...names(dns("alice.example"), ALICE_URI) },
  {
    name: "every other kind of name beside the URI",
    expected: "alice",
    ...names(
      OTHER_NAME,
      der(0x81, latin1("a@example.com")),
      der(0xa4, derName("alice")),
      ALICE_URI,
      der(0x87, Uint8Array.of(127, 0, 0, 1)),
      der(0x88, Uint8Array.of(0x2a)),
    ),
  },
  {
    name: "a critical SAN and no subject",
    expected: "alice",
    with: [extension(SAN, derSequence(ALICE_URI), true)],
    without: [SAN],
    parts: { subject: derSequence() },
  },
  { name: "no key usage and no basic constraints", expected: "alice", without: [KU, BC] },
  { name: "more key usages", expected: "alice", ...usage(derBits(3, 0xa8)) },
  { name: "clientAuth among other purposes", expected: "alice", ...purposes(SERVER_AUTH, CLIENT_AUTH) },
  { name: "clientAuth beside any purpose", expected: "alice", ...purposes(ANY_USAGE, CLIENT_AUTH) },
  {
    name: "a critical extended key usage",
    expected: "alice",
    with: [extension(EKU, derSequence(CLIENT_AUTH), true)],
    without: [EKU],
  },
  { name: "cA written out as false", expected: "alice", ...basic(derFlag(0)) },
  { name: "an unknown extension", expected: "alice", with: [extension("1.2.3.4", Uint8Array.of(1))] },
  { name: "a serial number of 20 bytes", expected: "alice", parts: { serial: derInteger(...filled(20)) } },
  {
    name: "a unique id of its issuer",
    expected: "alice",
    parts: { extensions: [], tail: concat(der(0x81, Uint8Array.of(0, 1)), der(0xa3, derSequence(...GOOD))) },
  },

  // the SPIFFE ID
  { name: "no SAN", expected: "no_spiffe_id", without: [SAN] },
  { name: "only a DNS name", expected: "no_spiffe_id", ...names(dns(ALICE)) },
  {
    name: "only an e-mail address that looks like one",
    expected: "no_spiffe_id",
    ...names(der(0x81, latin1(ALICE))),
  },
  { name: "a SPIFFE ID as other name", expected: "no_spiffe_id", ...names(OTHER_NAME) },
  {
    name: "a URI of another scheme",
    expected: "no_spiffe_id",
    ...names(uri("https://tinyscale.com/orgs/org-1/users/alice")),
  },
  { name: "an empty URI", expected: "no_spiffe_id", ...names(uri("")) },
  {
    name: "a SPIFFE ID as common name",
    expected: "no_spiffe_id",
    without: [SAN],
    parts: { subject: derName(ALICE) },
  },
  { name: "two SPIFFE IDs", expected: "several_spiffe_ids", ...names(ALICE_URI, uri(`${ALICE}2`)) },
  { name: "the same SPIFFE ID twice", expected: "several_spiffe_ids", ...names(ALICE_URI, ALICE_URI) },
  {
    name: "a second URI of another scheme",
    expected: "several_spiffe_ids",
    ...names(ALICE_URI, uri("https://a/")),
  },
  { name: "an empty URI behind it", expected: "several_spiffe_ids", ...names(ALICE_URI, uri("")) },
  {
    name: "another trust domain",
    expected: "wrong_trust_domain",
    ...spiffe("evil.example/orgs/org-1/users/alice"),
  },
  {
    name: "a trust domain below",
    expected: "wrong_trust_domain",
    ...spiffe("a.tinyscale.com/orgs/org-1/users/alice"),
  },
  {
    name: "a trust domain with a dot at its end",
    expected: "wrong_trust_domain",
    ...spiffe("tinyscale.com./orgs/org-1/users/alice"),
  },
  { name: "an upper-case scheme", expected: "malformed_spiffe_id", ...names(uri(`SPIFFE${ALICE.slice(6)}`)) },
  {
    name: "an upper-case trust domain",
    expected: "malformed_spiffe_id",
    ...spiffe("TINYSCALE.com/orgs/org-1/users/alice"),
  },
  {
    name: "percent-encoding",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/%61lice"),
  },
  {
    name: "an encoded slash",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1%2fusers%2falice"),
  },
  {
    name: "a slash at the end",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/alice/"),
  },
  {
    name: "an empty organization",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs//users/alice"),
  },
  { name: "an empty user", expected: "malformed_spiffe_id", ...spiffe("tinyscale.com/orgs/org-1/users/") },
  {
    name: "an extra segment",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/alice/admin"),
  },
  {
    name: "segments in another order",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/users/alice/orgs/org-1"),
  },
  {
    name: "segments in upper case",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/Orgs/org-1/Users/alice"),
  },
  { name: "too few segments", expected: "malformed_spiffe_id", ...spiffe("tinyscale.com/orgs/org-1/users") },
  { name: "no path", expected: "malformed_spiffe_id", ...spiffe("tinyscale.com") },
  {
    name: "a relative path",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/x/../org-1/users/alice"),
  },
  {
    name: "a dot for a user",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/.."),
  },
  {
    name: "UTF-8",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/al\xc3\xafce"),
  },
  { name: "a port", expected: "malformed_spiffe_id", ...spiffe("tinyscale.com:443/orgs/org-1/users/alice") },
  {
    name: "user information",
    expected: "malformed_spiffe_id",
    ...spiffe("evil@tinyscale.com/orgs/org-1/users/alice"),
  },
  { name: "a query", expected: "malformed_spiffe_id", ...spiffe("tinyscale.com/orgs/org-1/users/alice?x") },
  {
    name: "a fragment",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/alice#x"),
  },
  {
    name: "NUL within the user",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/alice\0.evil"),
  },
  {
    name: "NUL at the end",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/alice\0"),
  },
  {
    name: "a line break",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/alice\n"),
  },
  {
    name: "a quotation mark",
    expected: "malformed_spiffe_id",
    ...spiffe('tinyscale.com/orgs/org-1/users/alice"'),
  },
  {
    name: "a printed list of names in one URI",
    expected: "malformed_spiffe_id",
    ...spiffe("tinyscale.com/orgs/org-1/users/bob, URI:spiffe://tinyscale.com/orgs/org-1/users/alice"),
  },
  {
    name: "a printed list of names in a DNS name",
    expected: "no_spiffe_id",
    ...names(dns(`x, URI:${ALICE}`)),
  },
  {
    name: "more than 2048 bytes",
    expected: "malformed_spiffe_id",
    ...spiffe(`tinyscale.com/orgs/org-1/users/${"a".repeat(2048)}`),
  },

  // what it is for
  { name: "no extended key usage", expected: "not_for_clients", without: [EKU] },
  { name: "for servers only", expected: "not_for_clients", ...purposes(SERVER_AUTH) },
  { name: "for any purpose only", expected: "not_for_clients", ...purposes(ANY_USAGE) },
  {
    name: "for a purpose whose id begins like clientAuth",
    expected: "not_for_clients",
    ...purposes(derOid("1.3.6.1.5.5.7.3.2.1")),
  },
  { name: "for no purpose", expected: "malformed_certificate", ...purposes() },
  { name: "a key usage without digitalSignature", expected: "not_for_clients", ...usage(derBits(5, 0x20)) },
  { name: "a key usage for nothing", expected: "not_for_clients", ...usage(derBits(0)) },
  { name: "a key usage for certificates", expected: "not_for_clients", ...usage(derBits(2, 0x84)) },
  { name: "a key usage for revocation lists", expected: "not_for_clients", ...usage(derBits(1, 0x82)) },
  {
    name: "a key usage with too many unused bits",
    expected: "malformed_certificate",
    ...usage(derBits(8, 0x80)),
  },
  {
    name: "a key usage with unused bits that are set",
    expected: "malformed_certificate",
    ...usage(derBits(7, 0xc0)),
  },
  { name: "a key usage without a byte", expected: "malformed_certificate", ...usage(der(0x03)) },
  { name: "a CA", expected: "not_for_clients", ...basic(derFlag(0xff)) },
  { name: "a CA with a path length", expected: "not_for_clients", ...basic(derFlag(0xff), derInteger(0)) },
  { name: "a CA flag of neither 0 nor 255", expected: "malformed_certificate", ...basic(derFlag(1)) },
  {
    name: "more behind the path length",
    expected: "malformed_certificate",
    ...basic(derFlag(0), derInteger(0), derInteger(0)),
  },
  {
    name: "an unknown critical extension",
    expected: "malformed_certificate",
    with: [extension("1.2.3.4", EMPTY, true)],
  },

  // its form
  { name: "two SAN extensions", expected: "malformed_certificate", with: [san(dns("a"))] },
  { name: "two extended key usages", expected: "malformed_certificate", with: [usages(SERVER_AUTH)] },
  {
    name: "an unknown extension twice",
    expected: "malformed_certificate",
    with: [extension("1.2.3.4", EMPTY), extension("1.2.3.4", EMPTY)],
  },
  { name: "an empty SAN", expected: "malformed_certificate", ...names() },
  {
    name: "a URI in constructed form",
    expected: "malformed_certificate",
    ...names(der(0xa6, der(0x16, latin1(ALICE)))),
  },
  {
    name: "a name of an unknown kind",
    expected: "malformed_certificate",
    ...names(ALICE_URI, der(0x89, EMPTY)),
  },
  {
    name: "bytes behind the SAN",
    expected: "malformed_certificate",
    with: [extension(SAN, concat(derSequence(ALICE_URI), Uint8Array.of(5, 0)))],
    without: [SAN],
  },
  {
    name: "a SAN that is a set",
    expected: "malformed_certificate",
    with: [extension(SAN, der(0x31, ALICE_URI))],
    without: [SAN],
  },
  {
    name: "a SAN of indefinite length",
    expected: "malformed_certificate",
    with: [extension(SAN, concat(Uint8Array.of(0x30, 0x80), ALICE_URI, Uint8Array.of(0, 0)))],
    without: [SAN],
  },
  {
    name: "a URI with a length not in its shortest form",
    expected: "malformed_certificate",
    ...names(concat(Uint8Array.of(0x86, 0x81, ALICE.length), latin1(ALICE))),
  },
  {
    name: "a URI with a length of two bytes where one would do",
    expected: "malformed_certificate",
    ...names(concat(Uint8Array.of(0x86, 0x82, 0, ALICE.length), latin1(ALICE))),
  },
  {
    name: "a URI with a length of five bytes",
    expected: "malformed_certificate",
    ...names(concat(Uint8Array.of(0x86, 0x85, 0, 0, 0, 0, ALICE.length), latin1(ALICE))),
  },
  {
    name: "a URI longer than its SAN",
    expected: "malformed_certificate",
    ...names(concat(Uint8Array.of(0x86, 0x7f), latin1(ALICE))),
  },
  {
    name: "an extension's id not in its shortest form",
    expected: "malformed_certificate",
    with: [
      derSequence(der(0x06, Uint8Array.of(0x55, 0x1d, 0x80, 0x11)), derOctets(derSequence(uri(`${ALICE}2`)))),
    ],
  },
  {
    name: "an extension's id without an end",
    expected: "malformed_certificate",
    with: [derSequence(der(0x06, Uint8Array.of(0x55, 0x9d)), derOctets())],
  },
  {
    name: "bytes behind an extension's value",
    expected: "malformed_certificate",
    with: [derSequence(derOid("1.2.3.4"), derOctets(), derOctets())],
  },
  {
    name: "a critical flag of neither 0 nor 255",
    expected: "malformed_certificate",
    with: [derSequence(derOid("1.2.3.4"), derFlag(1), derOctets())],
  },
  { name: "no extensions", expected: "not_for_clients", parts: { extensions: [] } },
  {
    name: "an empty list of extensions",
    expected: "malformed_certificate",
    parts: { extensions: [], tail: der(0xa3, derSequence()) },
  },
  { name: "version 1", expected: "malformed_certificate", parts: { version: EMPTY } },
  { name: "version 2", expected: "malformed_certificate", parts: { version: der(0xa0, derInteger(1)) } },
  { name: "version 4", expected: "malformed_certificate", parts: { version: der(0xa0, derInteger(3)) } },
  {
    name: "a version not in its shortest form",
    expected: "malformed_certificate",
    parts: { version: der(0xa0, derInteger(0, 2)) },
  },
  { name: "an empty serial number", expected: "malformed_certificate", parts: { serial: derInteger() } },
  {
    name: "a serial number not in its shortest form",
    expected: "malformed_certificate",
    parts: { serial: derInteger(0, 0x40) },
  },
  {
    name: "a negative serial number not in its shortest form",
    expected: "malformed_certificate",
    parts: { serial: derInteger(0xff, 0x80) },
  },
  {
    name: "a serial number of 21 bytes",
    expected: "malformed_certificate",
    parts: { serial: derInteger(...filled(21)) },
  },
  {
    name: "two different signature algorithms",
    expected: "malformed_certificate",
    parts: { outerAlgorithm: derSequence(derOid("1.2.840.10045.4.3.3")) },
  },
  {
    name: "a second list of extensions",
    expected: "malformed_certificate",
    parts: { tail: der(0xa3, derSequence(san(uri(ALICE)))) },
  },
  {
    name: "a byte behind its end",
    expected: "malformed_certificate",
    change: (bytes) => concat(bytes, Uint8Array.of(0)),
  },
  {
    name: "a second certificate behind its end",
    expected: "malformed_certificate",
    change: (bytes) => concat(bytes, bytes),
  },
  {
    name: "its last byte missing",
    expected: "malformed_certificate",
    change: (bytes) => bytes.subarray(0, -1),
  },
  {
    name: "indefinite length",
    expected: "malformed_certificate",
    change: (bytes) => concat(Uint8Array.of(0x30, 0x80), bytes.subarray(4), Uint8Array.of(0, 0)),
  },
  {
    name: "a tag of more than one byte",
    expected: "malformed_certificate",
    change: (bytes) => concat(Uint8Array.of(0x3f, 0x10), bytes.subarray(1)),
  },
  { name: "PEM", expected: "malformed_certificate", change: () => latin1("-----BEGIN CERTIFICATE-----") },
  { name: "no bytes", expected: "malformed_certificate", change: () => EMPTY },
  {
    name: "nearly 64 KiB",
    expected: "alice",
    with: [extension("1.2.3.4", new Uint8Array(64_000))],
  },
  {
    name: "64 KiB and more",
    expected: "malformed_certificate",
    with: [extension("1.2.3.4", new Uint8Array(66_000))],
  },
  {
    name: "a signature with unused bits",
    expected: "malformed_certificate",
    change: (bytes) =>
      replaceBytes(bytes, derBits(0, ...new Uint8Array(8)), derBits(4, ...new Uint8Array(8))),
  },
];

function filled(length: number): number[] {
  return new Array<number>(length).fill(0x41);
}

function made({ parts = {}, with: added = [], without = [], change }: Case): Uint8Array {
  const bytes = certificate({ extensions: [...goodWithout(...without), ...added], ...parts });
  return change?.(bytes) ?? bytes;
}

function outcome(chain: readonly Uint8Array[], issuer = ISSUER): Outcome | string {
  try {
    return identify(chain, { issuer, now: NOW }).user;
  } catch (error) {
    assert.ok(error instanceof IdentityFault, String(error));
    return error.code;
  }
}

for (const one of cases) {
  Deno.test(`identify() answers ${one.expected} to ${one.name}`, () => {
    assert.equal(outcome([made(one)]), one.expected);
  });
}

Deno.test("identify() tells organization and user as they stand in the certificate", () => {
  const extensions = [...goodWithout(SAN), san(uri("spiffe://tinyscale.com/orgs/Org.1/users/AL-ice_"))];
  assert.deepEqual(identify([certificate({ extensions })], { issuer: ISSUER }), {
    spiffeId: "spiffe://tinyscale.com/orgs/Org.1/users/AL-ice_",
    org: "Org.1",
    user: "AL-ice_",
  });
});

Deno.test("identify() goes by the leaf, whatever is behind it", () => {
  const bob = certificate({ extensions: [...goodWithout(SAN), san(uri(`${ALICE}-2`))] });
  assert.equal(outcome([certificate(), bob]), "alice");
  assert.equal(outcome([certificate({ extensions: goodWithout(SAN) }), certificate()]), "no_spiffe_id");
  assert.equal(outcome([]), "malformed_certificate");
});

Deno.test("identify() compares the issuer to the letter", () => {
  for (const issuer of ["TinyScale.com", "tinyscale.com.", "scale.com", ""]) {
    assert.equal(outcome([certificate()], issuer), "wrong_trust_domain", issuer);
  }
});

Deno.test("identify() refuses a certificate that is cut off anywhere, and never takes it for another", () => {
  const whole = certificate();
  for (let length = 0; length < whole.length; length++) {
    assert.equal(outcome([whole.subarray(0, length)]), "malformed_certificate", `${length} bytes`);
  }
});

Deno.test("identify() reads certificates that another library has made", async () => {
  const authority = await createAuthority();
  const [alice, server] = await Promise.all([
    authority.issue({ uris: [ALICE], names: ["alice.example"], usage: "client" }),
    authority.issue({ uris: [ALICE], usage: "server" }),
  ]);
  assert.equal(outcome([alice.der]), "alice");
  assert.equal(outcome([server.der]), "not_for_clients");
  assert.equal(outcome([authority.der]), "not_for_clients");
});
