/**
 * What the first bytes of something come to. A parser sees every byte from where its format would begin, only
 * reads them, and is asked again with more.
 */
export type Parsed<T> =
  /** The first `length` bytes are it, entirely. */
  | { readonly kind: "yes"; readonly value: T; readonly length: number }
  /** Whatever follows, this is not the parser's format. */
  | { readonly kind: "no" }
  /** Fine so far. It is at least `total` bytes long, counted from where it begins, and that is more than seen. */
  | { readonly kind: "more"; readonly total: number }
  /** It is the parser's format and breaks a rule of it, whatever follows. `detail` names the rule, for the log. */
  | { readonly kind: "malformed"; readonly detail: string };

export const NO: { readonly kind: "no" } = { kind: "no" };

export function more(total: number): { readonly kind: "more"; readonly total: number } {
  return { kind: "more", total };
}

export function malformed(detail: string): { readonly kind: "malformed"; readonly detail: string } {
  return { kind: "malformed", detail };
}

/** Whether `seen` and `expected` agree as far as both go. */
export function agrees(seen: Uint8Array, expected: Uint8Array): boolean {
  const length = Math.min(seen.length, expected.length);
  for (let i = 0; i < length; i++) if (seen[i] !== expected[i]) return false;
  return true;
}

/** The big-endian number in two bytes; bytes that are not there count as 0, so the caller checks the length. */
export function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
}

/** The big-endian number in four bytes, unsigned; see {@link uint16}. */
export function uint32(bytes: Uint8Array, at: number): number {
  return uint16(bytes, at) * 65_536 + uint16(bytes, at + 2);
}
