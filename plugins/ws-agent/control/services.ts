import { z } from "../../../core/plugin/mod.ts";
import { BALANCES, type RegisterService, type ServiceRegistered } from "./messages.ts";
import { isUuid } from "./uuid.ts";

/** The JSON of the messages 0x13 to 0x16: some hundred bytes, and room for keys that are not known yet. */
export const MAX_JSON_BYTES = 8 * 1024;

/** Of any text in them but a URL. The longest is a host name (RFC 1035 §3.1: 253). */
const MAX_TEXT = 255;
const MAX_URL = 1024;

const text = z.string().min(1).max(MAX_TEXT);
const port = z.int().min(0).max(0xffff);

/** Keys that are not known are passed over: a newer agent may say more than this gateway understands. */
const registerService: z.ZodType<RegisterService> = z.object({
  name: text,
  protocol: z.enum(["http", "tcp", "tls", "udp"]),
  target: text.exactOptional(),
  hostname: text.exactOptional(),
  remotePort: port.exactOptional(),
  private: z.boolean().exactOptional(),
  shared: z.boolean().exactOptional(),
  balance: z.enum(BALANCES).exactOptional(),
});

const serviceRegistered: z.ZodType<ServiceRegistered> = z.object({
  serviceId: z.string().refine(isUuid),
  name: text,
  url: z.string().min(1).max(MAX_URL),
  remotePort: port.exactOptional(),
});

/** @returns What is wrong, as text that quotes no value, or the payload of 0x13. */
export function parseRegisterService(json: string): RegisterService | string {
  return parseJson(registerService, json);
}

/** @returns What is wrong, as text that quotes no value, or the payload of 0x14. */
export function parseServiceRegistered(json: string): ServiceRegistered | string {
  return parseJson(serviceRegistered, json);
}

/** @throws {RangeError} For a service that the other side would refuse. */
export function checkRegisterService(service: RegisterService): RegisterService {
  return checkJson(registerService, service);
}

/** @throws {RangeError} For a service that the other side would refuse. */
export function checkServiceRegistered(service: ServiceRegistered): ServiceRegistered {
  return checkJson(serviceRegistered, service);
}

/** @returns What is wrong with a JSON text, as text that quotes no value, or what the schema makes of it. */
export function parseJson<T extends object>(schema: z.ZodType<T>, json: string): T | string {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return "holds no JSON";
  }
  const checked = schema.safeParse(value);
  return checked.success ? checked.data : `has a wrong ${wrongKeys(checked.error)}`;
}

/** @throws {RangeError} For what the other side would refuse. */
export function checkJson<T>(schema: z.ZodType<T>, value: T): T {
  const checked = schema.safeParse(value);
  if (!checked.success) throw new RangeError(`A message has a wrong ${wrongKeys(checked.error)}`);
  return checked.data;
}

/** Only our own keys can be named in it. */
function wrongKeys(error: z.ZodError): string {
  return [...new Set(error.issues.map((issue) => String(issue.path[0] ?? "shape")))].join(" and ");
}
