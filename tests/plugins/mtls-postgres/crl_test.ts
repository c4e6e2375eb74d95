import assert from "node:assert/strict";
import { GatewayError } from "../../../core/errors.ts";
import { RevocationLists } from "../../../plugins/mtls-postgres/crl.ts";
import { identify, IdentityFault, type IdentityFaultCode } from "../../../plugins/mtls-postgres/identity.ts";
import {
  concat,
  der,
  derBits,
  derFlag,
  derInteger,
  derName,
  derOid,
  derSequence,
  derTime,
} from "../../support/der.ts";
import {
  AUTHORITY,
  authority,
  certificate,
  constraints,
  crlPem,
  extension,
  type HandMadeAuthority,
  issue,
  ISSUER,
  keyUsage,
  type ListParts,
  NOW,
  revocationList,
} from "./hand_made.ts";

const HOUR_MS = 3_600_000;
const SERIAL = derInteger(0x11, 0x22);
const OTHER_SERIAL = derInteger(0x33);
const CA = authority("Test CA");

type Outcome = IdentityFaultCode | "alice";

function outcome(chain: readonly Uint8Array[], crls: RevocationLists, now = NOW): Outcome {
  try {
    identify(chain, { issuer: ISSUER, crls, now });
    return "alice";
  } catch (error) {
    assert.ok(error instanceof IdentityFault, String(error));
    return error.code;
  }
}

async function load(
  files: Readonly<Record<string, string>>,
  ...authorities: readonly HandMadeAuthority[]
): Promise<RevocationLists> {
  return await RevocationLists.parse(files, authorities.map(({ pem }) => pem).join(""));
}

/** What `load` says of a file that it does not take. */
async function refusal(text: string, ...authorities: readonly HandMadeAuthority[]): Promise<string> {
  const error = await load({ "lists/ca.crl": text }, ...authorities).then(() => undefined, (error) => error);
  assert.ok(error instanceof GatewayError, `not refused, but ${error}`);
  assert.equal(error.code, "certificate-invalid");
  return error.message;
}

const revoking = (...revoked: readonly Uint8Array[]) => crlPem(revocationList(CA, { revoked }));

Deno.test("who is on the list of the CA is revoked, and nobody else", async () => {
  const crls = await load({ a: revoking(SERIAL) }, CA);
  assert.equal(outcome([issue(CA, { serial: SERIAL })], crls), "revoked");
  assert.equal(outcome([issue(CA, { serial: OTHER_SERIAL })], crls), "alice");
  assert.equal(outcome([issue(CA, { serial: derInteger(0x11) })], crls), "alice");
});

Deno.test("a certificate is looked up each time, also when its path is known", async () => {
  const leaf = issue(CA, { serial: SERIAL });
  const crls = await load({ a: revoking(OTHER_SERIAL) }, CA);
  assert.equal(outcome([leaf], crls), "alice");
  assert.equal(outcome([leaf], crls, NOW + 25 * HOUR_MS), "crl_unusable");
  assert.equal(outcome([leaf], crls), "alice");
});

Deno.test("no list at all: nobody is revoked, and no CA is needed", async () => {
  const crls = await RevocationLists.parse({}, "");
  assert.equal(outcome([certificate()], crls), "alice");
  assert.deepEqual(crls.lists, []);
});

Deno.test("a CA without a list is not checked, beside one that has one", async () => {
  const other = authority("Other CA");
  const crls = await load({ a: revoking(SERIAL) }, CA, other);
  assert.equal(outcome([issue(other, { serial: SERIAL })], crls), "alice");
  assert.equal(outcome([issue(CA, { serial: SERIAL })], crls), "revoked");
});

Deno.test("a list out of date shuts out all clients of its CA, and tells of its file", async () => {
  const other = authority("Other CA");
  const crls = await load({ "a.crl": revoking(OTHER_SERIAL) }, CA, other);
  const end = NOW + 24 * HOUR_MS;
  const leaf = issue(CA, { serial: SERIAL });
  assert.equal(outcome([leaf], crls, end - 1), "alice");
  assert.equal(outcome([leaf], crls, end), "crl_unusable");
  assert.equal(outcome([issue(CA, { serial: OTHER_SERIAL })], crls, end), "revoked");
  assert.equal(outcome([issue(other)], crls, end), "alice");
  assert.throws(
    () => identify([leaf], { issuer: ISSUER, crls, now: end }),
    /"a\.crl" was to be replaced by 2026-06-02T12:00:00\.000Z/,
  );
});

Deno.test("a list from the future shuts out all clients of its CA", async () => {
  const crls = await load({ a: crlPem(revocationList(CA, { thisUpdate: NOW + 1000 })) }, CA);
  assert.equal(outcome([issue(CA)], crls), "crl_unusable");
  assert.equal(outcome([issue(CA)], crls, NOW + 1000), "alice");
});

Deno.test("the newest list of a CA counts, wherever it stands", async () => {
  const old = revocationList(CA, { revoked: [SERIAL], thisUpdate: NOW - 9 * HOUR_MS, nextUpdate: NOW - 1 });
  const newer = revocationList(CA, { revoked: [OTHER_SERIAL] });
  for (const files of [{ a: crlPem(old, newer) }, { a: crlPem(newer), b: crlPem(old) }]) {
    const crls = await load(files, CA);
    assert.equal(outcome([issue(CA, { serial: SERIAL })], crls), "alice");
    assert.equal(outcome([issue(CA, { serial: OTHER_SERIAL })], crls), "revoked");
    assert.deepEqual(crls.lists, [
      { file: "a", thisUpdate: NOW - HOUR_MS, nextUpdate: NOW + 24 * HOUR_MS, revoked: 1 },
    ]);
  }
});

Deno.test("of two lists of the same moment both count", async () => {
  const crls = await load({ a: revoking(SERIAL), b: revoking(OTHER_SERIAL) }, CA);
  assert.equal(outcome([issue(CA, { serial: SERIAL })], crls), "revoked");
  assert.equal(outcome([issue(CA, { serial: OTHER_SERIAL })], crls), "revoked");
});

Deno.test("a CA that has changed its key has a list for each key, and both count", async () => {
  const successor = authority("Test CA");
  const files = {
    old: crlPem(revocationList(CA, { revoked: [SERIAL], thisUpdate: NOW - 9 * HOUR_MS })),
    new: crlPem(revocationList(successor, { revoked: [OTHER_SERIAL] })),
  };
  for (const inThisOrder of [files, { new: files.new, old: files.old }]) {
    const crls = await load(inThisOrder, CA, successor);
    assert.equal(crls.lists.length, 2);
    assert.equal(outcome([issue(CA, { serial: SERIAL })], crls), "revoked");
    assert.equal(outcome([issue(successor, { serial: OTHER_SERIAL })], crls), "revoked");
    assert.equal(outcome([issue(successor, { serial: derInteger(1) })], crls), "alice");
  }
});

Deno.test("base64 without the lines of PEM, text around the blocks, and CRLF are taken", async () => {
  const list = revocationList(CA, { revoked: [SERIAL] });
  const texts = [
    list.toBase64(),
    `\n${list.toBase64().replaceAll(/.{76}/g, "$&\r\n")}\n`,
    `Certificate Revocation List:\n  Version 2\n${crlPem(list)}`,
    crlPem(list).replaceAll("\n", "\r\n"),
    CA.pem + crlPem(list),
  ];
  for (const text of texts) {
    assert.equal(outcome([issue(CA, { serial: SERIAL })], await load({ a: text }, CA)), "revoked");
  }
});

Deno.test("intermediate CAs are checked as well", async (t) => {
  const root = CA;
  const middle = authority("Middle CA", { above: root, serial: SERIAL });
  const leaf = issue(middle, { serial: OTHER_SERIAL });

  await t.step("a revoked one shuts out its clients", async () => {
    const crls = await load({ a: revoking(SERIAL) }, root);
    assert.equal(outcome([leaf, middle.der], crls), "revoked");
  });
  await t.step("the list of the root says nothing of what another CA issued", async () => {
    const crls = await load({ a: revoking(OTHER_SERIAL) }, root);
    assert.equal(outcome([leaf, middle.der], crls), "alice");
    assert.equal(outcome([leaf, middle.der], crls), "alice", "from memory");
  });
  await t.step("its own list counts when it is among the CAs", async () => {
    const list = crlPem(revocationList(middle, { revoked: [OTHER_SERIAL] }));
    const crls = await load({ a: list }, root, middle);
    assert.equal(outcome([leaf, middle.der], crls), "revoked");
    assert.equal(outcome([leaf], crls), "revoked");
    assert.match(await refusal(list, root), /"lists\/ca\.crl" is of none of the configured CAs/);
  });
  await t.step("without it nobody can tell", async () => {
    const crls = await load({ a: revoking(SERIAL) }, root);
    assert.equal(outcome([leaf], crls), "crl_unusable");
  });
});

Deno.test("who has the key of a revoked CA cannot hide it behind another certificate of that name", async (t) => {
  const middle = authority("Middle CA", { above: CA, serial: SERIAL });
  const leaf = issue(middle, { serial: OTHER_SERIAL });
  const crls = await load({ a: revoking(SERIAL) }, CA);
  const twin = (parts: Parameters<typeof certificate>[0], key = CA.key) =>
    certificate({
      subject: middle.name,
      issuer: CA.name,
      publicKey: middle.publicKey,
      extensions: AUTHORITY,
      ...parts,
    }, key);
  const twins: Record<string, Uint8Array> = {
    "that it has signed itself": twin({}, middle.key),
    "with another key": authority("Middle CA", { above: CA }).der,
    "of an unknown CA": authority("Middle CA", { above: authority("Evil CA") }).der,
    "that is for clients": twin({ extensions: [constraints(), keyUsage(derBits(7, 0x80))] }),
    "that is not marked as a CA": twin({ extensions: [] }),
    "that may not sign certificates": twin({
      extensions: [constraints(derFlag(0xff)), keyUsage(derBits(7, 0x80))],
    }),
    "that has expired": twin({ validity: derSequence(derTime(NOW - 9 * HOUR_MS), derTime(NOW - HOUR_MS)) }),
    "that is not valid yet": twin({
      validity: derSequence(derTime(NOW + HOUR_MS), derTime(NOW + 9 * HOUR_MS)),
    }),
  };
  for (const [name, instead] of Object.entries(twins)) {
    await t.step(`one ${name}`, () => {
      assert.equal(outcome([leaf, instead], crls), "crl_unusable");
      assert.equal(outcome([leaf, instead, middle.der], crls), "crl_unusable");
    });
  }
  await t.step("one that takes the name of the root", () => {
    const impostor = authority("Test CA", { above: middle, serial: OTHER_SERIAL });
    assert.equal(outcome([issue(impostor)], crls), "crl_unusable");
    assert.equal(outcome([issue(impostor), impostor.der, middle.der], crls), "revoked");
  });
  await t.step("but one that the root has really issued anew is good", () => {
    assert.equal(outcome([leaf, twin({ serial: derInteger(0x55) })], crls), "alice");
  });
  await t.step("a malformed one is refused", () => {
    assert.equal(outcome([leaf, middle.der.subarray(1)], crls), "malformed_certificate");
  });
});

Deno.test("a path is remembered no longer than its certificates are valid", async () => {
  const validity = derSequence(derTime(NOW - HOUR_MS), derTime(NOW + HOUR_MS));
  const middle = authority("Middle CA", { above: CA, validity });
  const crls = await load({ a: revoking(SERIAL) }, CA);
  const chain = [issue(middle), middle.der];
  assert.equal(outcome(chain, crls, NOW + HOUR_MS), "alice");
  assert.equal(outcome(chain, crls, NOW + HOUR_MS + 1), "crl_unusable");
});

const ENTRY_ISSUER = extension("2.5.29.29", derSequence(der(0xa4, derName("x"))), true);

const unusable: readonly { name: string; text: () => string; says: RegExp }[] = [
  { name: "nothing in it", text: () => "", says: /Tag missing/ },
  { name: "only a certificate in it", text: () => CA.pem, says: /No revocation list in "lists\/ca\.crl"/ },
  { name: "no base64", text: () => "hello, world", says: /not base64/ },
  {
    name: "a block without an end",
    text: () => `${crlPem(list())}-----BEGIN X509 CRL-----\nMIIB`,
    says: /without its/,
  },
  {
    name: "a second block that is malformed",
    text: () => crlPem(list(), Uint8Array.of(0x30, 0)),
    says: /lists\/ca\.crl/,
  },
  {
    name: "a block that is cut off",
    text: () => crlPem(list().subarray(0, -1)),
    says: /longer than what it is in/,
  },
  { name: "bytes behind a list", text: () => crlPem(concat(list(), Uint8Array.of(0))), says: /bytes follow/ },
  { name: "a certificate called a list", text: () => crlPem(CA.der), says: /Cannot use/ },
  { name: "no nextUpdate", text: () => crlPem(list({ nextUpdate: null })), says: /nextUpdate/ },
  { name: "version 3", text: () => crlPem(list({ version: derInteger(2) })), says: /version/ },
  {
    name: "extensions in version 1",
    text: () => crlPem(list({ version: new Uint8Array(0) })),
    says: /follow/,
  },
  {
    name: "extensions of an entry in version 1",
    text: () =>
      crlPem(
        list({
          version: new Uint8Array(0),
          extensions: [],
          revoked: [SERIAL],
          entryExtensions: [extension("2.5.29.21", der(0x0a, Uint8Array.of(1)))],
        }),
      ),
    says: /follow/,
  },
  {
    name: "a delta CRL",
    text: () => crlPem(list({ extensions: [extension("2.5.29.27", derInteger(1), true)] })),
    says: /delta CRL/,
  },
  {
    name: "a distribution point",
    text: () => crlPem(list({ extensions: [extension("2.5.29.28", derSequence(), true)] })),
    says: /distribution point/,
  },
  {
    name: "a distribution point not marked as critical",
    text: () => crlPem(list({ extensions: [extension("2.5.29.28", derSequence())] })),
    says: /distribution point/,
  },
  {
    name: "an unknown critical extension",
    text: () => crlPem(list({ extensions: [extension("1.2.3.4", derSequence(), true)] })),
    says: /critical extension/,
  },
  {
    name: "an extension twice",
    text: () =>
      crlPem(
        list({ extensions: [extension("1.2.3.4", derSequence()), extension("1.2.3.4", derSequence())] }),
      ),
    says: /twice/,
  },
  {
    name: "entries of another CA",
    text: () => crlPem(list({ revoked: [SERIAL], entryExtensions: [ENTRY_ISSUER] })),
    says: /indirect/,
  },
  {
    name: "an unknown critical extension of an entry",
    text: () =>
      crlPem(list({ revoked: [SERIAL], entryExtensions: [extension("1.2.3.4", derSequence(), true)] })),
    says: /critical extension/,
  },
  {
    name: "a serial number not in its shortest form",
    text: () => crlPem(list({ revoked: [derInteger(0, 0x11)] })),
    says: /shortest form/,
  },
  {
    name: "two different algorithms",
    text: () => crlPem(list({ outerAlgorithm: derSequence(derOid("1.2.840.10045.4.3.3")) })),
    says: /two different/,
  },
  {
    name: "SHA-1",
    text: () => crlPem(list({ algorithm: derSequence(derOid("1.2.840.10045.4.1")) })),
    says: /algorithm that is not supported/,
  },
  {
    name: "a wrong signature",
    text: () => crlPem(corrupted(list({ revoked: [SERIAL] }))),
    says: /not signed by the CA/,
  },
  {
    name: "the name of a CA, and the key of another",
    text: () => crlPem(revocationList(authority("Evil"), { issuer: CA.name })),
    says: /not signed by the CA/,
  },
  {
    name: "an unknown issuer",
    text: () => crlPem(revocationList(authority("Evil"))),
    says: /none of the configured CAs/,
  },
];

function list(parts?: ListParts): Uint8Array {
  return revocationList(CA, parts);
}

/** Another serial number than the one that is signed. */
function corrupted(bytes: Uint8Array): Uint8Array {
  return Uint8Array.fromHex(bytes.toHex().replace("02021122", "02021123"));
}

for (const { name, text, says } of unusable) {
  Deno.test(`a file with ${name} is refused by name`, async () => {
    const message = await refusal(text(), CA);
    assert.match(message, says);
    assert.match(message, /"lists\/ca\.crl"/);
  });
}

Deno.test("a CA that may not sign lists is told of", async () => {
  const mute = authority("Mute CA", { extensions: [constraints(derFlag(0xff)), keyUsage(derBits(2, 0x04))] });
  assert.match(await refusal(crlPem(revocationList(mute)), mute), /lacks cRLSign/);
});

Deno.test("a CA that is malformed is told of", async () => {
  const text = CA.pem.replace("MII", "AAA");
  await assert.rejects(RevocationLists.parse({ a: revoking() }, text), /A CA certificate .* is malformed/);
});

Deno.test("what is harmless in a list is taken", async (t) => {
  const harmless: Record<string, ListParts> = {
    "no extensions": { extensions: [] },
    "version 1": { version: new Uint8Array(0), extensions: [] },
    "a critical number": { extensions: [extension("2.5.29.20", derInteger(1), true)] },
    "an unknown extension": { extensions: [extension("1.2.3.4", derSequence())] },
    "a reason": { entryExtensions: [extension("2.5.29.21", der(0x0a, Uint8Array.of(1)))] },
    "a date after 2049": { nextUpdate: Date.UTC(2060, 0) },
  };
  for (const [name, parts] of Object.entries(harmless)) {
    await t.step(name, async () => {
      const crls = await load({ a: crlPem(list({ ...parts, revoked: [SERIAL] })) }, CA);
      assert.equal(outcome([issue(CA, { serial: SERIAL })], crls), "revoked");
    });
  }
});
