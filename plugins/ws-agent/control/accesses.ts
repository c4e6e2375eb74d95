import { z } from "../../../core/plugin/mod.ts";
import type { AccessGranted, AccessService } from "./messages.ts";
import { checkJson, parseJson } from "./services.ts";
import { isUuid } from "./uuid.ts";

/** Of `OWNER/NAME`. */
export const MAX_SERVICE_TEXT = 255;

const service = z.string().min(1).max(MAX_SERVICE_TEXT);
const milliseconds = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

const accessService: z.ZodType<AccessService> = z.object({ service, ttlMs: milliseconds.exactOptional() });

const accessGranted: z.ZodType<AccessGranted> = z.object({
  accessId: z.string().refine(isUuid),
  service,
  protocol: z.enum(["http", "tcp", "tls"]),
  until: milliseconds,
  ttlMs: milliseconds,
});

/** @returns What is wrong, as text that quotes no value, or the payload of 0x15. */
export function parseAccessService(json: string): AccessService | string {
  return parseJson(accessService, json);
}

/** @returns What is wrong, as text that quotes no value, or the payload of 0x16. */
export function parseAccessGranted(json: string): AccessGranted | string {
  return parseJson(accessGranted, json);
}

/** @throws {RangeError} For a question that the other side would refuse. */
export function checkAccessService(question: AccessService): AccessService {
  return checkJson(accessService, question);
}

/** @throws {RangeError} For an answer that the other side would refuse. */
export function checkAccessGranted(answer: AccessGranted): AccessGranted {
  return checkJson(accessGranted, answer);
}
