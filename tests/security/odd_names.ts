import { bytes } from "../core/data_plane/preface/samples.ts";

const LABEL_63 = "a".repeat(63);
/** The longest name that there is. */
export const NAME_253: string = `${`${LABEL_63}.`.repeat(3)}${"b".repeat(49)}.example.com`;

/** What a client may ask for, and the canonical form of it: nothing, when it is no name at all. */
export const ODD_NAMES: readonly { asked: string | Uint8Array; is: string | undefined }[] = [
  { asked: "db.example.com", is: "db.example.com" },
  { asked: "DB.eXaMpLe.CoM", is: "db.example.com" },
  { asked: "db.example.com.", is: "db.example.com" },
  { asked: "DB.EXAMPLE.COM.", is: "db.example.com" },
  { asked: "my_db.example.com", is: "my_db.example.com" },
  { asked: "_.example.com", is: "_.example.com" },
  { asked: `${LABEL_63}.example.com`, is: `${LABEL_63}.example.com` },
  { asked: "xn--bcher-kva.example", is: "xn--bcher-kva.example" },
  { asked: "XN--BCHER-KVA.example", is: "xn--bcher-kva.example" },
  { asked: NAME_253, is: NAME_253 },
  { asked: `${NAME_253}.`, is: NAME_253 },
  { asked: "db.example.com..", is: undefined },
  { asked: "db..example.com", is: undefined },
  { asked: ".db.example.com", is: undefined },
  { asked: ".example.com", is: undefined },
  { asked: ".", is: undefined },
  { asked: "db.example.com\0", is: undefined },
  { asked: "\0db.example.com", is: undefined },
  { asked: "db.example.com\0.evil.test", is: undefined },
  { asked: " db.example.com", is: undefined },
  { asked: "db.example.com ", is: undefined },
  { asked: "db .example.com", is: undefined },
  { asked: "db.example.com\n", is: undefined },
  { asked: "db.example.com\t", is: undefined },
  { asked: "db.example.com:443", is: undefined },
  { asked: "db.example.com/", is: undefined },
  { asked: "user@db.example.com", is: undefined },
  { asked: "%64b.example.com", is: undefined },
  { asked: "*.example.com", is: undefined },
  { asked: "*", is: undefined },
  { asked: "-db.example.com", is: undefined },
  { asked: "db-.example.com", is: undefined },
  { asked: `${LABEL_63}a.example.com`, is: undefined },
  { asked: NAME_253.replace("b", "bb"), is: undefined },
  { asked: "a.".repeat(200) + "example.com", is: undefined },
  { asked: "127.0.0.1", is: undefined },
  { asked: "127.1", is: undefined },
  { asked: "0x7f.0.0.1", is: undefined },
  { asked: "2130706433", is: undefined },
  { asked: "::1", is: undefined },
  { asked: "[::1]", is: undefined },
  { asked: "bücher.example", is: undefined },
  { asked: bytes("b", 0xfc, "cher.example"), is: undefined },
  { asked: "\u212aelvin.example.com", is: undefined },
  { asked: "d\u212a.example.com", is: undefined },
  { asked: "db\u3002example.com", is: undefined },
  { asked: "\uff44\uff42.example.com", is: undefined },
  { asked: "db\u00ad.example.com", is: undefined },
  { asked: bytes(0xc0, 0xae, "db.example.com"), is: undefined },
];

/** A name as the title of a test shows it. */
export function show(asked: string | Uint8Array): string {
  const text = JSON.stringify(typeof asked === "string" ? asked : new TextDecoder("latin1").decode(asked));
  return text.length > 60 ? `${text.slice(0, 40)}… (${asked.length})` : text;
}
