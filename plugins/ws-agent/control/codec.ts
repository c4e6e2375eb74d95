import {
  checkAccessGranted,
  checkAccessService,
  parseAccessGranted,
  parseAccessService,
} from "./accesses.ts";
import { ControlFault } from "./fault.ts";
import type { ControlMessage } from "./messages.ts";
import { PayloadReader, PayloadWriter } from "./payload.ts";
import {
  checkRegisterService,
  checkServiceRegistered,
  MAX_JSON_BYTES,
  parseRegisterService,
  parseServiceRegistered,
} from "./services.ts";

/** The most of a message, with its header. */
export const MAX_MESSAGE_BYTES = 65_536;
/** Type, and length of the payload. */
export const HEADER_BYTES = 5;

type MessageName = ControlMessage["type"];
type MessageOf<Name extends MessageName> = Extract<ControlMessage, { readonly type: Name }>;

/** How one type of message is written and read. */
interface Format<Name extends MessageName> {
  readonly code: number;
  write(payload: PayloadWriter, message: MessageOf<Name>): void;
  /** Reads up to where its fields end; throws a {@link ControlFault}. */
  read(payload: PayloadReader): MessageOf<Name>;
}

/** The codes of Register's protocol, from 0 on. */
const REGISTER_PROTOCOLS = ["tcp", "udp"] as const;

const FORMATS: { readonly [Name in MessageName]: Format<Name> } = {
  auth: {
    code: 0x01,
    write: (payload, { token, clientId }) => payload.text(token, 2).uuid(clientId),
    read: (payload) => ({ type: "auth", token: payload.text(payload.uint16()), clientId: payload.uuid() }),
  },
  authOk: {
    code: 0x02,
    write: (payload, { tunnelId }) => payload.uuid(tunnelId),
    read: (payload) => ({ type: "authOk", tunnelId: payload.uuid() }),
  },
  authFail: reasonOnly("authFail", 0x03),
  register: {
    code: 0x10,
    write(payload, { name, protocol, localPort, remotePort }) {
      payload.text(name, 1).uint8(REGISTER_PROTOCOLS.indexOf(protocol)).uint16(localPort).uint16(remotePort);
    },
    read(payload) {
      const name = payload.text(payload.uint8());
      const protocol = REGISTER_PROTOCOLS[payload.uint8()];
      if (protocol === undefined) throw payload.fault("is for an unknown protocol");
      return { type: "register", name, protocol, localPort: payload.uint16(), remotePort: payload.uint16() };
    },
  },
  registerOk: {
    code: 0x11,
    write: (payload, { serviceId }) => payload.uuid(serviceId),
    read: (payload) => ({ type: "registerOk", serviceId: payload.uuid() }),
  },
  registerFail: reasonOnly("registerFail", 0x12),
  registerService: {
    code: 0x13,
    write(payload, { type: _, ...service }) {
      payload.text(JSON.stringify(checkRegisterService(service)), 0);
    },
    read: (payload) => ({ type: "registerService", ...readJson(payload, parseRegisterService) }),
  },
  serviceRegistered: {
    code: 0x14,
    write(payload, { type: _, ...service }) {
      payload.text(JSON.stringify(checkServiceRegistered(service)), 0);
    },
    read: (payload) => ({ type: "serviceRegistered", ...readJson(payload, parseServiceRegistered) }),
  },
  accessService: {
    code: 0x15,
    write(payload, { type: _, ...question }) {
      payload.text(JSON.stringify(checkAccessService(question)), 0);
    },
    read: (payload) => ({ type: "accessService", ...readJson(payload, parseAccessService) }),
  },
  accessGranted: {
    code: 0x16,
    write(payload, { type: _, ...answer }) {
      payload.text(JSON.stringify(checkAccessGranted(answer)), 0);
    },
    read: (payload) => ({ type: "accessGranted", ...readJson(payload, parseAccessGranted) }),
  },
  accessFail: reasonOnly("accessFail", 0x17),
  accessEnded: {
    code: 0x18,
    write: (payload, { accessId, reason }) => payload.uuid(accessId).text(reason, 2),
    read: (payload) => ({
      type: "accessEnded",
      accessId: payload.uuid(),
      reason: payload.text(payload.uint16()),
    }),
  },
  connect: {
    code: 0x20,
    write(payload, { serviceId, connectionId, clientAddress }) {
      payload.uuid(serviceId).uuid(connectionId).text(clientAddress, 2);
    },
    read: (payload) => ({
      type: "connect",
      serviceId: payload.uuid(),
      connectionId: payload.uuid(),
      clientAddress: payload.text(payload.uint16()),
    }),
  },
  connectAck: {
    code: 0x21,
    write: (payload, { connectionId }) => payload.uuid(connectionId),
    read: (payload) => ({ type: "connectAck", connectionId: payload.uuid() }),
  },
  connectFail: {
    code: 0x22,
    write: (payload, { connectionId, reason }) => payload.uuid(connectionId).text(reason, 2),
    read: (payload) => ({
      type: "connectFail",
      connectionId: payload.uuid(),
      reason: payload.text(payload.uint16()),
    }),
  },
  heartbeat: timeOnly("heartbeat", 0x30),
  heartbeatAck: timeOnly("heartbeatAck", 0x31),
  unregister: {
    code: 0x40,
    write: (payload, { serviceId }) => payload.uuid(serviceId),
    read: (payload) => ({ type: "unregister", serviceId: payload.uuid() }),
  },
  disconnect: reasonOnly("disconnect", 0x41),
};

function reasonOnly<Name extends "authFail" | "registerFail" | "accessFail" | "disconnect">(
  type: Name,
  code: number,
) {
  return {
    code,
    write: (payload: PayloadWriter, { reason }: { readonly reason: string }) => payload.text(reason, 2),
    read: (payload: PayloadReader) => ({ type, reason: payload.text(payload.uint16()) }) as MessageOf<Name>,
  };
}

function timeOnly<Name extends "heartbeat" | "heartbeatAck">(type: Name, code: number) {
  return {
    code,
    write: (payload: PayloadWriter, { time }: { readonly time: number }) => payload.time(time),
    read: (payload: PayloadReader) => ({ type, time: payload.time() }) as MessageOf<Name>,
  };
}

function readJson<T>(payload: PayloadReader, parse: (json: string) => T | string): T {
  if (payload.left > MAX_JSON_BYTES) throw payload.fault(`is over ${MAX_JSON_BYTES} bytes`);
  const parsed = parse(payload.text(payload.left));
  if (typeof parsed === "string") throw payload.fault(parsed);
  return parsed;
}

const BY_CODE: ReadonlyMap<number, Format<MessageName>> = new Map(
  Object.values(FORMATS).map((format) => [format.code, format as Format<MessageName>]),
);

/**
 * Writes a control message.
 *
 * @throws {RangeError} For one that the format cannot hold: misuse by our own code. Reasons that may be long are cut
 * by whoever makes them.
 */
export function encodeControl(message: ControlMessage): Uint8Array {
  const format = FORMATS[message.type] as Format<MessageName>;
  const payload = new PayloadWriter();
  format.write(payload, message);
  const length = HEADER_BYTES + payload.length;
  if (length > MAX_MESSAGE_BYTES) throw new RangeError(`A control message cannot have ${length} bytes`);
  const bytes = new Uint8Array(length);
  bytes[0] = format.code;
  new DataView(bytes.buffer).setUint32(1, payload.length);
  payload.copyTo(bytes, HEADER_BYTES);
  return bytes;
}

/**
 * Reads one whole message, as one WebSocket message of a plain agent holds it.
 *
 * @param bytes It and nothing else. What is returned holds nothing of them.
 * @throws {ControlFault}
 */
export function decodeControl(bytes: Uint8Array): ControlMessage {
  const length = messageLength(bytes);
  if (length === undefined || length > bytes.length) {
    throw new ControlFault("truncated", "Control message that ends too early", bytes[0]);
  }
  if (length < bytes.length) {
    throw new ControlFault("malformed", "Control message with bytes behind its end", bytes[0]);
  }
  return decodePayload(bytes[0] ?? 0, bytes.subarray(HEADER_BYTES));
}

/**
 * How long the message at the start of `seen` is, with its header; `undefined` until that has come.
 *
 * @throws {ControlFault} `too_long`.
 */
export function messageLength(seen: Uint8Array, maxBytes: number = MAX_MESSAGE_BYTES): number | undefined {
  if (seen.length < HEADER_BYTES) return undefined;
  const payload = new DataView(seen.buffer, seen.byteOffset).getUint32(1);
  if (HEADER_BYTES + payload > maxBytes) {
    throw new ControlFault("too_long", `Control message of ${HEADER_BYTES + payload} bytes`, seen[0]);
  }
  return HEADER_BYTES + payload;
}

/** @throws {ControlFault} `unknown_type` or `malformed`. */
export function decodePayload(type: number, bytes: Uint8Array): ControlMessage {
  const format = BY_CODE.get(type);
  if (format === undefined) {
    throw new ControlFault("unknown_type", `Control message of the unknown type ${type}`, type);
  }
  const payload = new PayloadReader(type, bytes);
  const message = format.read(payload);
  payload.end();
  return message;
}
