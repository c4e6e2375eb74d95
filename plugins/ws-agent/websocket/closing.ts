/** Status codes of a close frame that are used here (RFC 6455 §7.4.1 and IANA's registry). */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedData: 1003,
  invalidPayload: 1007,
  policyViolation: 1008,
  tooBig: 1009,
  internalError: 1011,
  tryAgainLater: 1013,
} as const;

/** What a close frame says. */
export interface CloseStatus {
  /** Absent when the frame was empty. */
  readonly code?: number;
  /** May be empty. From a stranger: to be escaped where it is shown. */
  readonly reason: string;
}

/** A connection that ended other than by a normal close: by a peer that broke a rule, or by one that says so of us. */
export class WebSocketFault extends Error {
  override readonly name = "WebSocketFault";
  /** The status code of the close frame that was sent, or that came. */
  readonly code: number;
  /** Whether the peer closed; otherwise it is the peer that broke a rule. */
  readonly byPeer: boolean;

  constructor(code: number, message: string, byPeer = false) {
    super(message);
    this.code = code;
    this.byPeer = byPeer;
  }
}

/** RFC 6455 §5.5: a control frame's payload. */
export const MAX_CONTROL_BYTES = 125;
const MAX_REASON_BYTES = MAX_CONTROL_BYTES - 2;

/**
 * The payload of a close frame. A reason that is too long is cut where a character ends.
 *
 * @throws {RangeError} For a code that may not be sent.
 */
export function encodeClose({ code, reason }: CloseStatus): Uint8Array {
  if (code === undefined) return new Uint8Array(0);
  if (!isSendable(code)) throw new RangeError(`${code} is no status code for a close frame`);
  const payload = new Uint8Array(MAX_CONTROL_BYTES);
  const { written } = new TextEncoder().encodeInto(reason, payload.subarray(2, 2 + MAX_REASON_BYTES));
  payload[0] = code >>> 8;
  payload[1] = code & 0xff;
  return payload.subarray(0, 2 + written);
}

/** @returns What the payload says, or the fault that it is (RFC 6455 §5.5.1, §7.4). */
export function parseClose(payload: Uint8Array): CloseStatus | WebSocketFault {
  const [high, low] = payload;
  if (high === undefined) return { reason: "" };
  if (low === undefined) return new WebSocketFault(CLOSE.protocolError, "Close frame of one byte");
  const code = high << 8 | low;
  if (!isSendable(code)) {
    return new WebSocketFault(CLOSE.protocolError, `Close frame with the status code ${code}`);
  }
  try {
    return { code, reason: utf8.decode(payload.subarray(2)) };
  } catch {
    return new WebSocketFault(CLOSE.invalidPayload, "Close frame with a reason that is no UTF-8");
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** 1004 to 1006 and 1015 are for a program to tell itself; 1016 to 2999 are not assigned (§7.4.2). */
function isSendable(code: number): boolean {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/** Whether a peer that closes so has nothing to complain about. */
export function isNormalClose({ code }: CloseStatus): boolean {
  return code === undefined || code === CLOSE.normal || code === CLOSE.goingAway;
}
