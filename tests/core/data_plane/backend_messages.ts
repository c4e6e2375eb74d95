import type { CancelKey } from "../../../core/data_plane/preface/postgres.ts";
import { bytes } from "./preface/samples.ts";

/** A message of a PostgreSQL server. */
export function message(type: string, ...body: Parameters<typeof bytes>): Uint8Array {
  const content = bytes(...body);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, 4 + content.length);
  return bytes(type, length, content);
}

export function backendKeyData({ processId, secret }: CancelKey): Uint8Array {
  const id = new Uint8Array(4);
  new DataView(id.buffer).setUint32(0, processId);
  return message("K", id, secret);
}

/** AuthenticationOk and the ParameterStatus messages that come before the key. */
export const LOGIN: Uint8Array = bytes(
  message("R", 0, 0, 0, 0),
  message("S", "server_version\0", "18.1\0"),
  message("S", "TimeZone\0", "Etc/UTC\0"),
);
