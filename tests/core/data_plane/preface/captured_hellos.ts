const FOLDER = new URL("../../../testdata/client_hello/", import.meta.url);

/** A ClientHello that a real client sent, with the records that carry it. See `tests/testdata/README.md`. */
export interface CapturedHello {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** All of them, by name. Needs permission to read. */
export function capturedHellos(): CapturedHello[] {
  const files = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).filter((name) => name.endsWith(".bin"));
  return files.map((file) => file.slice(0, -".bin".length)).sort().map((name) => ({
    name,
    bytes: Deno.readFileSync(new URL(`${name}.bin`, FOLDER)),
  }));
}
