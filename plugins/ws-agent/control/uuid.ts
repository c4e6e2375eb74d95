import type { Uuid } from "./messages.ts";

/** The bytes of a UUID on the wire. */
export const UUID_BYTES = 16;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether `text` is a UUID as it is written here: in lower case. Its version is of no interest. */
export function isUuid(text: string): text is Uuid {
  return UUID.test(text);
}

/** @throws {RangeError} For what is no UUID in lower case. */
export function uuidToBytes(uuid: Uuid): Uint8Array {
  if (!isUuid(uuid)) throw new RangeError(`"${uuid}" is no UUID in lower case`);
  return Uint8Array.fromHex(uuid.replaceAll("-", ""));
}

/** @throws {RangeError} For anything but 16 bytes. */
export function uuidFromBytes(bytes: Uint8Array): Uuid {
  if (bytes.length !== UUID_BYTES) throw new RangeError(`A UUID has 16 bytes, not ${bytes.length}`);
  const hex = bytes.toHex();
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
