/** One DER element. Tags are of one byte. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  return concat(Uint8Array.of(tag), derLength(content.length), content);
}

/** A length in its shortest form, below 16 MiB. */
export function derLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes = [length >> 16, length >> 8 & 0xff, length & 0xff];
  while (bytes[0] === 0) bytes.shift();
  return Uint8Array.of(0x80 + bytes.length, ...bytes);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** One byte for each character, so that anything may stand in a string of ASCII. */
export function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export const derSequence = (...contents: readonly Uint8Array[]): Uint8Array => der(0x30, ...contents);
export const derOctets = (...contents: readonly Uint8Array[]): Uint8Array => der(0x04, ...contents);
export const derFlag = (value: number): Uint8Array => der(0x01, Uint8Array.of(value));
/** The content as it is: nothing makes it minimal. */
export const derInteger = (...content: readonly number[]): Uint8Array => der(0x02, Uint8Array.from(content));
export const derBits = (unused: number, ...content: readonly number[]): Uint8Array =>
  der(0x03, Uint8Array.of(unused, ...content));

/** From `2.5.29.17`. */
export function derOid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...arcs] = dotted.split(".").map(Number);
  return der(0x06, Uint8Array.from([first * 40 + second, ...arcs].flatMap(base128)));
}

function base128(arc: number): number[] {
  const bytes = [arc & 0x7f];
  for (let rest = arc >> 7; rest > 0; rest >>= 7) bytes.unshift(rest & 0x7f | 0x80);
  return bytes;
}

/** A UTCTime, or a GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5). */
export function derTime(time: number): Uint8Array {
  const text = `${new Date(time).toISOString().replaceAll(/[-:T]|\..*$/g, "")}Z`;
  return Number(text.slice(0, 4)) < 2050 ? der(0x17, latin1(text.slice(2))) : der(0x18, latin1(text));
}

/** A Name with nothing but a common name, as UTF8String. */
export function derName(commonName: string): Uint8Array {
  const attribute = derSequence(derOid("2.5.4.3"), der(0x0c, new TextEncoder().encode(commonName)));
  return derSequence(der(0x31, attribute));
}

/** PEM, in lines of 64 characters. */
export function toPem(label: string, bytes: Uint8Array): string {
  const base64 = bytes.toBase64().replaceAll(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n`;
}
