import assert from "node:assert/strict";
import {
  DerError,
  DerReader,
  readBits,
  readFlag,
  readInteger,
  readOid,
  readTime,
  TAG,
} from "../../../plugins/mtls-postgres/der.ts";
import { der, latin1 } from "../../support/der.ts";

const reader = (hex: string) => new DerReader(Uint8Array.fromHex(hex));

const lengths: readonly { name: string; hex: string; length?: number }[] = [
  { name: "no content", hex: "0400", length: 0 },
  { name: "one byte", hex: "040141", length: 1 },
  { name: "127 bytes", hex: `047f${"41".repeat(127)}`, length: 127 },
  { name: "128 bytes", hex: `048180${"41".repeat(128)}`, length: 128 },
  { name: "256 bytes", hex: `04820100${"41".repeat(256)}`, length: 256 },
  { name: "65,536 bytes", hex: `0483010000${"41".repeat(65_536)}`, length: 65_536 },
  { name: "nothing", hex: "" },
  { name: "a tag alone", hex: "04" },
  { name: "another tag", hex: "0500" },
  { name: "a length alone", hex: "0401" },
  { name: "half a length", hex: "048201" },
  { name: "less than its length", hex: "040241" },
  { name: "an indefinite length", hex: "24800401410000" },
  { name: "an indefinite length in primitive form", hex: "0480410000" },
  { name: "127 bytes in long form", hex: `04817f${"41".repeat(127)}` },
  { name: "255 bytes in two bytes", hex: `048200ff${"41".repeat(255)}` },
  { name: "four bytes of length", hex: "04840000000141" },
  { name: "the reserved length", hex: "04ff41" },
];

for (const { name, hex, length } of lengths) {
  Deno.test(`DerReader ${length === undefined ? "refuses" : "reads"} ${name}`, () => {
    if (length === undefined) assert.throws(() => reader(hex).read(TAG.octetString), DerError);
    else assert.equal(reader(hex).read(TAG.octetString).length, length);
  });
}

Deno.test("DerReader goes on behind each element, and tells of what is left", () => {
  const two = reader("30030201050400");
  const inner = two.enter();
  assert.equal(readInteger(inner).toHex(), "05");
  inner.end();
  assert.equal(two.readOptional(TAG.integer), undefined);
  assert.throws(() => two.end(), DerError);
  assert.equal(two.readWhole(TAG.octetString).toHex(), "0400");
  assert.equal(two.done, true);
  two.end();
});

const values: readonly {
  read: string;
  with: (reader: DerReader) => unknown;
  hex: string;
  value?: unknown;
}[] = [
  { read: "a small number", with: (r) => readInteger(r).toHex(), hex: "020105", value: "05" },
  { read: "zero", with: (r) => readInteger(r).toHex(), hex: "020100", value: "00" },
  {
    read: "a number with its top bit set",
    with: (r) => readInteger(r).toHex(),
    hex: "02020080",
    value: "0080",
  },
  { read: "a negative number", with: (r) => readInteger(r).toHex(), hex: "0202ff7f", value: "ff7f" },
  { read: "a number without bytes", with: readInteger, hex: "0200" },
  { read: "a number with a zero too many", with: readInteger, hex: "0202007f" },
  { read: "a negative number with a byte too many", with: readInteger, hex: "0202ff80" },
  { read: "true", with: readFlag, hex: "0101ff", value: true },
  { read: "false", with: readFlag, hex: "010100", value: false },
  { read: "an absent flag", with: readFlag, hex: "020105", value: false },
  { read: "a flag of 1", with: readFlag, hex: "010101" },
  { read: "a flag of two bytes", with: readFlag, hex: "0102ffff" },
  { read: "a flag without bytes", with: readFlag, hex: "0100" },
  { read: "an object identifier", with: readOid, hex: "0603551d11", value: "551d11" },
  {
    read: "an object identifier with long arcs",
    with: readOid,
    hex: "06062a864886f70d",
    value: "2a864886f70d",
  },
  { read: "an empty object identifier", with: readOid, hex: "0600" },
  { read: "an object identifier with a padded arc", with: readOid, hex: "0604551d8011" },
  { read: "an object identifier that is cut off", with: readOid, hex: "0603551d91" },
  { read: "bits", with: (r) => readBits(r).toHex(), hex: "03020780", value: "80" },
  { read: "no bits", with: (r) => readBits(r).toHex(), hex: "030100", value: "" },
  { read: "bits without a count", with: readBits, hex: "0300" },
  { read: "unused bits of no byte", with: readBits, hex: "030101" },
  { read: "eight unused bits", with: readBits, hex: "03020800" },
  { read: "an unused bit that is set", with: readBits, hex: "03020781" },
];

for (const { read, with: readValue, hex, value } of values) {
  Deno.test(`der: ${read} is ${value === undefined ? "refused" : JSON.stringify(value)}`, () => {
    if (value === undefined) assert.throws(() => readValue(reader(hex)), DerError);
    else assert.deepEqual(readValue(reader(hex)), value);
  });
}

const times: readonly (readonly [tag: number, text: string, iso?: string])[] = [
  [0x17, "260601120000Z", "2026-06-01T12:00:00.000Z"],
  [0x17, "491231235959Z", "2049-12-31T23:59:59.000Z"],
  [0x17, "500101000000Z", "1950-01-01T00:00:00.000Z"],
  [0x17, "240229000000Z", "2024-02-29T00:00:00.000Z"],
  [0x18, "20600101000000Z", "2060-01-01T00:00:00.000Z"],
  [0x18, "99991231235959Z", "9999-12-31T23:59:59.000Z"],
  [0x17, "230229000000Z"],
  [0x17, "261301000000Z"],
  [0x17, "260001000000Z"],
  [0x17, "260601240000Z"],
  [0x17, "260601126000Z"],
  [0x17, "260601120060Z"],
  [0x17, "2606011200Z"],
  [0x17, "260601120000"],
  [0x17, "260601120000+0100"],
  [0x17, "20260601120000Z"],
  [0x18, "260601120000Z"],
  [0x18, "20260601120000.5Z"],
  [0x18, "00500101000000Z"],
  [0x18, "20260601120000Z "],
  [0x17, ""],
  [0x16, "260601120000Z"],
];

for (const [tag, text, iso] of times) {
  Deno.test(`readTime() ${iso === undefined ? "refuses" : "reads"} ${text} with tag ${tag}`, () => {
    const encoded = new DerReader(der(tag, latin1(text)));
    if (iso === undefined) assert.throws(() => readTime(encoded), DerError);
    else assert.equal(new Date(readTime(encoded)).toISOString(), iso);
  });
}
