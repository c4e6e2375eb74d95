/** Version 0; data or window update; SYN, and no other flag; stream 1. The length behind it may be any. */
const LENGTH = 8;
const UPDATE = 1;

/**
 * Whether a connection begins with yamux whose client opens its first stream, as go-tunnel agents do at once.
 *
 * @param seen The first bytes of the connection.
 * @returns `undefined`: more of them have to be seen.
 */
export function opensYamux(seen: Uint8Array): boolean | undefined {
  for (let at = 0; at < Math.min(seen.length, LENGTH); at++) {
    const byte = seen[at] ?? 0;
    const fits = at === 1 ? byte <= UPDATE : byte === (at === 3 || at === 7 ? 1 : 0);
    if (!fits) return false;
  }
  return seen.length < LENGTH ? undefined : true;
}
