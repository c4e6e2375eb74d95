import { GatewayError } from "../../../core/plugin/mod.ts";
import type { HttpBackend } from "./backend.ts";

/** What a request is answered with that gets no stream. */
export type RefusalStatus = 404 | 502 | 503 | 504;

/** Thrown by {@link HttpBackend.open} when it knows what the client is to be told: 404, nobody has this name. */
export class HttpRefusal extends Error {
  override readonly name = "HttpRefusal";
  readonly status: RefusalStatus;

  constructor(status: RefusalStatus, message: string) {
    super(message);
    this.status = status;
  }
}

/** A backend for names that nobody registered (404), or whose tunnel is gone (502): every request is answered so. */
export function refusingBackend(hostname: string, status: RefusalStatus): HttpBackend {
  return {
    hostname,
    open: () => Promise.reject(new HttpRefusal(status, `Every request for "${hostname}" is refused`)),
  };
}

/** What the client is told when {@link HttpBackend.open} has thrown; `undefined`: nothing that is known, try again. */
export function statusOf(error: unknown): RefusalStatus | undefined {
  if (error instanceof HttpRefusal) return error.status;
  if (!(error instanceof GatewayError)) return undefined;
  return error.code === "dial-timeout" ? 504 : 502;
}
