const encoder = new TextEncoder();

/** Writes to standard output. */
export function print(text: string): void {
  const bytes = encoder.encode(text);
  for (let offset = 0; offset < bytes.length;) offset += Deno.stdout.writeSync(bytes.subarray(offset));
}

/** Writes what is for people only to standard error, where no program takes it for the result. */
export function printHint(text: string): void {
  const bytes = encoder.encode(text);
  for (let offset = 0; offset < bytes.length;) offset += Deno.stderr.writeSync(bytes.subarray(offset));
}
