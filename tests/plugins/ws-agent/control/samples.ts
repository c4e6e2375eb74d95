import type { ControlMessage } from "../../../../plugins/ws-agent/control/messages.ts";

export const A = "00010203-0405-0607-0809-0a0b0c0d0e0f", A_HEX = "000102030405060708090a0b0c0d0e0f";
export const B = "ffeeddcc-bbaa-9988-7766-554433221100", B_HEX = "ffeeddccbbaa99887766554433221100";

const json = (text: string) => new TextEncoder().encode(text).toHex();
const REGISTER = '{"name":"app","protocol":"http"}';
const REGISTER_ALL =
  '{"name":"db","protocol":"tls","target":"127.0.0.1:5432","hostname":"db.example.com","remotePort":0,"private":true,"shared":true,"balance":"source-hash"}';
const REGISTERED = `{"serviceId":"${A}","name":"app","url":"https://app.example.com"}`;
const REGISTERED_ALL = `{"serviceId":"${B}","name":"ssh","url":"tcp://example.com:30001","remotePort":30001}`;

const ACCESS = '{"service":"db"}';
const ACCESS_ALL = '{"service":"alice/db","ttlMs":60000}';
const GRANTED =
  `{"accessId":"${A}","service":"alice/db","protocol":"tcp","until":1700000000000,"ttlMs":60000}`;

const sized = (code: string, payload: string) =>
  code + (payload.length / 2).toString(16).padStart(8, "0") + payload;

/** Every type of message with its bytes, written by hand. */
export const SAMPLES: readonly { readonly hex: string; readonly message: ControlMessage }[] = [
  { hex: `01 00000017 0005 746f6b656e ${A_HEX}`, message: { type: "auth", token: "token", clientId: A } },
  { hex: `01 00000012 0000 ${B_HEX}`, message: { type: "auth", token: "", clientId: B } },
  { hex: `02 00000010 ${A_HEX}`, message: { type: "authOk", tunnelId: A } },
  { hex: "03 00000004 0002 6e6f", message: { type: "authFail", reason: "no" } },
  {
    hex: "10 00000009 03 737368 00 0016 08ae",
    message: { type: "register", name: "ssh", protocol: "tcp", localPort: 22, remotePort: 2222 },
  },
  {
    hex: "10 00000008 02 c3a9 01 ffff 0000",
    message: { type: "register", name: "é", protocol: "udp", localPort: 65_535, remotePort: 0 },
  },
  { hex: `11 00000010 ${B_HEX}`, message: { type: "registerOk", serviceId: B } },
  { hex: "12 00000002 0000", message: { type: "registerFail", reason: "" } },
  {
    hex: sized("13", json(REGISTER)),
    message: { type: "registerService", name: "app", protocol: "http" },
  },
  {
    hex: sized("13", json(REGISTER_ALL)),
    message: {
      type: "registerService",
      name: "db",
      protocol: "tls",
      target: "127.0.0.1:5432",
      hostname: "db.example.com",
      remotePort: 0,
      private: true,
      shared: true,
      balance: "source-hash",
    },
  },
  {
    hex: sized("14", json(REGISTERED)),
    message: { type: "serviceRegistered", serviceId: A, name: "app", url: "https://app.example.com" },
  },
  {
    hex: sized("14", json(REGISTERED_ALL)),
    message: {
      type: "serviceRegistered",
      serviceId: B,
      name: "ssh",
      url: "tcp://example.com:30001",
      remotePort: 30_001,
    },
  },
  { hex: sized("15", json(ACCESS)), message: { type: "accessService", service: "db" } },
  {
    hex: sized("15", json(ACCESS_ALL)),
    message: { type: "accessService", service: "alice/db", ttlMs: 60_000 },
  },
  {
    hex: sized("16", json(GRANTED)),
    message: {
      type: "accessGranted",
      accessId: A,
      service: "alice/db",
      protocol: "tcp",
      until: 1_700_000_000_000,
      ttlMs: 60_000,
    },
  },
  { hex: "17 00000004 0002 6e6f", message: { type: "accessFail", reason: "no" } },
  { hex: `18 00000015 ${A_HEX} 0003 656e64`, message: { type: "accessEnded", accessId: A, reason: "end" } },
  {
    hex: `20 00000026 ${A_HEX} ${B_HEX} 0004 783a3830`,
    message: { type: "connect", serviceId: A, connectionId: B, clientAddress: "x:80" },
  },
  { hex: `21 00000010 ${A_HEX}`, message: { type: "connectAck", connectionId: A } },
  {
    hex: `22 00000016 ${B_HEX} 0004 646f776e`,
    message: { type: "connectFail", connectionId: B, reason: "down" },
  },
  { hex: "30 00000008 0000018bcfe56800", message: { type: "heartbeat", time: 1_700_000_000_000 } },
  { hex: "31 00000008 001fffffffffffff", message: { type: "heartbeatAck", time: Number.MAX_SAFE_INTEGER } },
  { hex: `40 00000010 ${A_HEX}`, message: { type: "unregister", serviceId: A } },
  { hex: "41 0000000a 0008 6c656176696e6721", message: { type: "disconnect", reason: "leaving!" } },
];

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}
