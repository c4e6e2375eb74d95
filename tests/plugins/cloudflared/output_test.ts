import assert from "node:assert/strict";
import { classify, type Meaning, parseLine } from "../../../plugins/cloudflared/output.ts";

const STAMP = "2026-08-20T10:54:27Z";
const ORIGIN = "originURL=https://cft-db.ratio1.link";

/** Lines as cloudflared 2026.8 and some versions before it print them. */
const lines: readonly [text: string, meaning: string][] = [
  [`${STAMP} INF Start Websocket listener host=localhost:45000`, "listening"],
  [
    `${STAMP} ERR Error on Websocket listener error="failed to start forwarding server: listen tcp 127.0.0.1:45000: bind: address already in use"`,
    "fatal port_taken",
  ],
  [
    "failed to start forwarding server: listen tcp 127.0.0.1:45000: bind: address already in use",
    "fatal port_taken",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="failed to find Access application at https://cft-db.ratio1.link" ${ORIGIN}`,
    "fatal login_required",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="metadata JWT verification failed: no key" ${ORIGIN}`,
    "fatal login_required",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="failed to generate app token file path: stat /dev/null/cloudflared-45000/.cloudflared: not a directory" ${ORIGIN}`,
    "fatal login_required",
  ],
  ["Please open the following URL and log in with your Cloudflare account:", "fatal login_required"],
  ["A browser window should have opened at the following URL:", "fatal login_required"],
  [`${STAMP} INF Waiting for login...`, "fatal login_required"],
  ["Another cloudflared process (pid 42) is already waiting for authentication.", "fatal login_required"],
  ["https://cft-db.ratio1.link/cdn-cgi/access/cli?edge_token_transfer=true&token=x", "fatal login_required"],
  [
    `${STAMP} ERR failed to connect to origin error="invalid service token" ${ORIGIN}`,
    "fatal bad_service_token",
  ],
  [`${STAMP} ERR The service token has expired`, "fatal bad_service_token"],
  [
    `${STAMP} ERR failed to connect to origin error="websocket: bad handshake" ${ORIGIN}`,
    "complaint edge_refused",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="tls: failed to verify certificate: x509: certificate signed by unknown authority" ${ORIGIN}`,
    "complaint certificate_error",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="x509: certificate has expired or is not yet valid" ${ORIGIN}`,
    "complaint certificate_error",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="dial tcp: lookup cft-db.ratio1.link on 192.0.2.53:53: no such host" ${ORIGIN}`,
    "complaint edge_unreachable",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="dial tcp 192.0.2.1:443: connect: connection refused" ${ORIGIN}`,
    "complaint edge_unreachable",
  ],
  [
    `${STAMP} ERR failed to connect to origin error="dial tcp 192.0.2.1:443: i/o timeout" ${ORIGIN}`,
    "complaint edge_unreachable",
  ],
  [`${STAMP} ERR failed to connect to origin error=EOF ${ORIGIN}`, "complaint edge_unreachable"],
  // A debug line quotes what came from outside.
  [`${STAMP} DBG Websocket response: "HTTP/1.1 302 Found\\r\\nLocation: /cdn-cgi/access/login"`, "nothing"],
  [`${STAMP} INF cloudflared version 2026.8.2`, "nothing"],
  ["", "nothing"],
  ["Start", "nothing"],
];

for (const [text, meaning] of lines) {
  Deno.test(`cloudflared's line means ${meaning}: ${text.slice(0, 120)}`, () => {
    assert.equal(describe(classify(parseLine(text))), meaning);
  });
}

const levels: readonly [text: string, level: string | undefined, message: string][] = [
  [`${STAMP} INF Start host=localhost:1`, "info", "Start host=localhost:1"],
  [`${STAMP} DBG x`, "debug", "x"],
  [`${STAMP} WRN x`, "warn", "x"],
  [`${STAMP} ERR x y`, "error", "x y"],
  [`${STAMP} FTL x`, "error", "x"],
  ["2026-08-20T10:54:27+02:00 INF x", "info", "x"],
  [`${STAMP} XYZ x`, undefined, `${STAMP} XYZ x`],
  ["panic: runtime error", undefined, "panic: runtime error"],
];

for (const [text, level, message] of levels) {
  Deno.test(`a line of level ${level ?? "unknown"} is read: ${text}`, () => {
    assert.deepEqual(parseLine(text), { message, ...(level && { level }) });
  });
}

function describe(meaning: Meaning | undefined): string {
  if (meaning === undefined) return "nothing";
  return meaning.kind === "listening" ? "listening" : `${meaning.kind} ${meaning.reason}`;
}
