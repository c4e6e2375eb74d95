import { createHash } from "node:crypto";
import type { NodeId } from "../../../core/plugin/mod.ts";
import type { Uuid } from "../control/messages.ts";
import { isUuid, uuidFromBytes } from "../control/uuid.ts";

/** Of a digest of the data plane's name: enough that no two of them have the same. */
const TAG_BYTES = 4;
/** 96 random bits that are good for seconds, and for one try each: nobody finds one. */
const RANDOM_BYTES = 12;

/**
 * The id of a public connection, as its agent is told: the first bytes say on which data plane the connection waits, the others are
 * random, and prove to it that whoever shows them was told.
 */
export function newConnectionId(node: NodeId): Uuid {
  const bytes = new Uint8Array(TAG_BYTES + RANDOM_BYTES);
  crypto.getRandomValues(bytes);
  bytes.set(tagOf(node));
  return uuidFromBytes(bytes);
}

/** Which of `nodes` has given out this id; `undefined`: none of them. */
export function nodeOfConnection(id: Uuid, nodes: readonly NodeId[]): NodeId | undefined {
  const tag = id.slice(0, 2 * TAG_BYTES);
  return nodes.find((node) => tagOf(node).toHex() === tag);
}

/** Reads an id out of a path: as a UUID is written, in upper case too. @returns `undefined`: it is none. */
export function parseConnectionId(text: string): Uuid | undefined {
  const id = text.toLowerCase();
  return isUuid(id) ? id : undefined;
}

function tagOf(node: NodeId): Uint8Array {
  return new Uint8Array(createHash("sha256").update(node).digest().subarray(0, TAG_BYTES));
}
