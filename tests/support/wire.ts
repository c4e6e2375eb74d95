import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { readToEnd } from "./echo.ts";

/** Whatever a test can connect to: a `TestPlane` and a `TestGateway` both. */
export interface Connectable {
  connect(): Promise<Deno.TcpConn>;
}

/** Sends these chunks, a segment each, and gives all that comes back until the gateway closes. */
export async function exchange(
  gateway: Connectable,
  ...chunks: readonly (Uint8Array | string)[]
): Promise<Uint8Array> {
  const client = await gateway.connect();
  client.setNoDelay();
  try {
    for (const chunk of chunks) {
      await writeAll(client, typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk);
    }
    return await readToEnd(client);
  } catch (error) {
    if (isHangUp(error)) return new Uint8Array();
    throw error;
  } finally {
    closeQuietly(client);
  }
}

/** {@link exchange}, for an answer in text. */
export async function exchangeText(
  gateway: Connectable,
  ...chunks: readonly (Uint8Array | string)[]
): Promise<string> {
  return new TextDecoder().decode(await exchange(gateway, ...chunks));
}

/** The description in a fatal TLS alert that stands at the end of an answer (RFC 8446 §6). */
export function alertIn(answer: Uint8Array): number | undefined {
  const [type, major, , high, low, level, description] = answer.subarray(-7);
  const isAlert = type === 21 && major === 3 && high === 0 && low === 2 && level === 2;
  return isAlert ? description : undefined;
}

/** The fields of a PostgreSQL ErrorResponse, by their one-letter types. */
export function postgresError(answer: Uint8Array): Readonly<Record<string, string>> {
  if (answer[0] !== "E".charCodeAt(0)) return {};
  const fields = new TextDecoder().decode(answer.subarray(5)).split("\0").filter((field) => field !== "");
  return Object.fromEntries(fields.map((field) => [field.slice(0, 1), field.slice(1)]));
}

/** Whether the other side has closed, as far as an error tells. */
export function isHangUp(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe;
}
