const encoder = new TextEncoder();

/** Writes to standard output. */
export function print(text: string): void {
  const bytes = encoder.encode(text);
  for (let offset = 0; offset < bytes.length;) offset += Deno.stdout.writeSync(bytes.subarray(offset));
}
