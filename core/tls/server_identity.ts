import { addressFromBytes, parseAddress } from "../net/address.ts";
import { canonicalName, canonicalNameFromBytes } from "../names.ts";

/** Tags of DER (X.690 §8) as far as they stand on the way to the names. */
const SEQUENCE = 0x30, OBJECT_IDENTIFIER = 0x06, OCTET_STRING = 0x04;
/** TBSCertificate's `extensions [3]`, and GeneralName's `dNSName [2]` and `iPAddress [7]` (RFC 5280). */
const EXTENSIONS = 0xa3, DNS_NAME = 0x82, IP_ADDRESS = 0x87;
/** 2.5.29.17, subjectAltName. */
const SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11];

/**
 * Whether a certificate is one for this host: by its subjectAltName and nothing else (RFC 9525 §6.3, RFC 5280
 * §4.2.1.6). It is read from DER: a printed list of names can be forged by what stands inside a name
 * (CVE-2021-44532), and the runtime's own check is one of a printed list, which also takes a CN for a name.
 *
 * @param der The certificate.
 * @param host A canonical name or address. An address must be there as an address.
 * @returns False also when the certificate cannot be read.
 */
export function isCertificateFor(der: Uint8Array, host: string): boolean {
  const address = parseAddress(host);
  try {
    return subjectAltNames(der).some(({ tag, content }) =>
      address === undefined
        ? tag === DNS_NAME && covers(content, host)
        : tag === IP_ADDRESS && isAddress(content, address)
    );
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** A wildcard stands for the whole of the first label and nothing else (RFC 9525 §6.3). */
function covers(pattern: Uint8Array, name: string): boolean {
  if (pattern[0] !== 0x2a || pattern[1] !== 0x2e) return canonicalNameFromBytes(pattern) === name;
  const parent = canonicalNameFromBytes(pattern.subarray(2));
  const dot = name.indexOf(".");
  return parent !== undefined && dot > 0 && canonicalName(name.slice(dot + 1)) === parent;
}

function isAddress(bytes: Uint8Array, address: string): boolean {
  return (bytes.length === 4 || bytes.length === 16) && addressFromBytes(bytes) === address;
}

interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
}

/** Certificate → TBSCertificate → extensions → subjectAltName → each GeneralName. */
function* subjectAltNames(der: Uint8Array): Generator<Element> {
  const [certificate] = elements(der);
  const [tbs] = elements(contentOf(certificate, SEQUENCE));
  for (const part of elements(contentOf(tbs, SEQUENCE))) {
    if (part.tag !== EXTENSIONS) continue;
    const [extensions] = elements(part.content);
    for (const extension of elements(contentOf(extensions, SEQUENCE))) {
      const [id, ...rest] = elements(contentOf(extension, SEQUENCE));
      if (!isSubjectAltName(id)) continue;
      const [names] = elements(contentOf(rest.at(-1), OCTET_STRING)); // `critical` may stand between
      yield* elements(contentOf(names, SEQUENCE));
    }
  }
}

function isSubjectAltName(id: Element | undefined): boolean {
  const content = contentOf(id, OBJECT_IDENTIFIER);
  return content.length === SUBJECT_ALT_NAME.length &&
    SUBJECT_ALT_NAME.every((byte, i) => content[i] === byte);
}

function contentOf(element: Element | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw new RangeError("Not the element that a certificate has here");
  return element.content;
}

/** The elements one behind the other. @throws {RangeError} One is longer than what there is. */
function* elements(der: Uint8Array): Generator<Element> {
  for (let at = 0; at < der.length;) {
    const { length, start } = readLength(der, at + 1);
    const end = start + length;
    if (end > der.length) throw new RangeError("A DER element overruns");
    yield { tag: der[at] ?? 0, content: der.subarray(start, end) };
    at = end;
  }
}

/** Lengths of up to three bytes: no certificate in a handshake has more than 2^24 (RFC 8446 §4.4.2). */
function readLength(der: Uint8Array, at: number): { length: number; start: number } {
  const first = der[at] ?? 0xff;
  if (first < 0x80) return { length: first, start: at + 1 };
  const size = first & 0x7f;
  if (size === 0 || size > 3 || at + size >= der.length) throw new RangeError("A DER length is malformed");
  let length = 0;
  for (let i = 1; i <= size; i++) length = length * 256 + (der[at + i] ?? 0);
  return { length, start: at + 1 + size };
}
