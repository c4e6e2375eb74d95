import type { CapturedBody } from "./captured_body.ts";
import type { HeaderList } from "./exchange.ts";

/** A body, as people can look at it. */
export type BodyView =
  | { readonly kind: "empty" }
  | { readonly kind: "text"; readonly text: string; readonly note: string }
  | { readonly kind: "binary"; readonly hex: string; readonly note: string };

/** What is shown of a body that is unpacked. */
const MAX_UNPACKED_BYTES = 256 * 1024;
/** What is unpacked at a time: deflate makes at most 1032 bytes of one, and so never more than 1 MiB between two looks. */
const UNPACK_STEP_BYTES = 1024;
const MAX_HEX_BYTES = 512;
const HEX_ROW_BYTES = 16;

const FORMATS: ReadonlyMap<string, CompressionFormat> = new Map([
  ["gzip", "gzip"],
  ["x-gzip", "gzip"],
  ["deflate", "deflate"],
]);

/** Makes a body readable: unpacks it where that is known how, and tells text from other bytes by looking. Never throws. */
export async function viewBody(headers: HeaderList, body: CapturedBody): Promise<BodyView> {
  const { bytes, total } = body;
  if (total === 0) return { kind: "empty" };
  if (bytes.length === 0) return { kind: "binary", hex: "", note: `${countOf(total)}, none of them kept` };
  const notes = [body.isWhole ? countOf(total) : `the first ${countOf(bytes.length)} of ${total}`];
  const coding = valueOf(headers, "content-encoding")?.toLowerCase() ?? "";
  const format = FORMATS.get(coding);
  if (format === undefined) {
    if (coding !== "" && coding !== "identity") notes.push("packed, and not unpacked here");
    return viewBytes(bytes, !body.isWhole, notes);
  }
  const { unpacked, isCut } = await unpack(bytes, format);
  if (unpacked.length === 0) return viewBytes(bytes, true, [...notes, `not readable as ${format}`]);
  notes.push(`${format}, ${isCut ? "the first " : ""}${countOf(unpacked.length)} unpacked`);
  return viewBytes(unpacked, isCut, notes);
}

/** @param isCut Whether more would follow, so that the last character may not be whole. */
function viewBytes(bytes: Uint8Array<ArrayBuffer>, isCut: boolean, notes: readonly string[]): BodyView {
  const text = readText(bytes, isCut);
  if (text !== undefined) return { kind: "text", text, note: notes.join("; ") };
  const shown = bytes.subarray(0, MAX_HEX_BYTES);
  const more = shown.length < bytes.length ? [`the first ${shown.length} as hex`] : [];
  return { kind: "binary", hex: hexDump(shown), note: [...notes, "not text", ...more].join("; ") };
}

/** @returns `undefined` for what is not UTF-8, or has control characters that no text has. */
function readText(bytes: Uint8Array<ArrayBuffer>, isCut: boolean): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: isCut });
    // deno-lint-ignore no-control-regex -- they are what is looked for
    return /[\x00-\x08\x0e-\x1a\x1c-\x1f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** Unpacks as far as it goes: what was cut off, or is broken further on, is readable up to there. */
async function unpack(
  bytes: Uint8Array<ArrayBuffer>,
  format: CompressionFormat,
): Promise<{ readonly unpacked: Uint8Array<ArrayBuffer>; readonly isCut: boolean }> {
  const stream = new DecompressionStream(format);
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  let isCut = true;
  const feeding = feed(writer, bytes).catch(() => {}); // the reader hears of it, too
  try {
    while (length < MAX_UNPACKED_BYTES) {
      const { done, value } = await reader.read();
      if (done) {
        isCut = false;
        break;
      }
      parts.push(value);
      length += value.length;
    }
  } catch {
    // What came before stands.
  }
  await reader.cancel().catch(() => {});
  await writer.abort().catch(() => {});
  await feeding;
  const all = new Uint8Array(await new Blob(parts).arrayBuffer());
  return { unpacked: all.slice(0, MAX_UNPACKED_BYTES), isCut: isCut || length > MAX_UNPACKED_BYTES };
}

async function feed(
  writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  for (let at = 0; at < bytes.length; at += UNPACK_STEP_BYTES) {
    await writer.write(bytes.slice(at, at + UNPACK_STEP_BYTES));
  }
  await writer.close();
}

function hexDump(bytes: Uint8Array): string {
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; at += HEX_ROW_BYTES) {
    const row = bytes.subarray(at, at + HEX_ROW_BYTES);
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = Array.from(row, (byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")
      .join("");
    rows.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(3 * HEX_ROW_BYTES)} ${text}`);
  }
  return rows.join("\n");
}

function countOf(bytes: number): string {
  return `${bytes} ${bytes === 1 ? "byte" : "bytes"}`;
}

/** The first value of the fields with this name, in lower case. */
export function valueOf(headers: HeaderList, name: string): string | undefined {
  return headers.find(([one]) => one.toLowerCase() === name)?.[1];
}
