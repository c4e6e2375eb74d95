import { isSecretKey } from "../../../core/config/redact.ts";
import type { HeaderList } from "./exchange.ts";

/** Fields of which the value lets whoever has it in; beside those with a name that says so. */
const SECRET = new Set([
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "authentication-info",
]);

/** What stands in place of such a value. */
export const MASKED = "•••";

/** Whether the value of a field is a secret. Rather one too many: it can be shown when it is asked for. */
export function isSecretHeader(name: string): boolean {
  return SECRET.has(name.toLowerCase()) || isSecretKey(name);
}

/** A copy with `•••` in place of the values that are secrets. */
export function maskHeaders(headers: HeaderList): HeaderList {
  return headers.map(([name, value]) => isSecretHeader(name) ? [name, MASKED] : [name, value]);
}
