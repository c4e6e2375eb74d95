import type { Grant, PortRange } from "../auth/grant.ts";

/** How many ports are looked at for one that is assigned: with that many taken in a row, the range is as good as full. */
const MAX_LOOKS = 4096;

/**
 * Ports to assign to a service, best first.
 *
 * They follow from who asks for what, so that every data plane comes to the same one for the parallel connections of an
 * agent without having to ask the others, and a gateway that was started anew gives out the port that it gave before.
 *
 * @param identity Of the service and its holder.
 * @param range Of the gateway.
 * @param allowed Of the grant; absent: all of the range.
 */
export function* portsToTry(
  identity: string,
  range: PortRange,
  allowed: Grant["ports"],
): Generator<number> {
  const ranges = allowed === undefined ? [range] : allowed.flatMap((one) => overlapOf(one, range));
  const total = ranges.reduce((sum, one) => sum + sizeOf(one), 0);
  const start = hash(identity) % Math.max(1, total);
  for (let i = 0; i < Math.min(total, MAX_LOOKS); i++) yield portAt(ranges, (start + i) % total);
}

/** Whether a port is in a range. */
export function isIn(port: number, { first, last }: PortRange): boolean {
  return port >= first && port <= last;
}

function overlapOf(a: PortRange, b: PortRange): PortRange[] {
  const overlap = { first: Math.max(a.first, b.first), last: Math.min(a.last, b.last) };
  return overlap.first <= overlap.last ? [overlap] : [];
}

function sizeOf({ first, last }: PortRange): number {
  return last - first + 1;
}

function portAt(ranges: readonly PortRange[], index: number): number {
  for (const range of ranges) {
    if (index < sizeOf(range)) return range.first + index;
    index -= sizeOf(range);
  }
  throw new RangeError("There are not so many ports");
}

/** FNV-1a, 32 bits: it only has to spread. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
