import type { ClientHelloInfo, ConnectionInfo } from "../../core/plugin/contract.ts";

const DESTINATION = { address: "127.0.0.1", port: 8443 };
let lastId = 0;

/** A connection to ask a plugin about: of an unknown protocol unless said otherwise, each with an id of its own. */
export function connection(given: Partial<ConnectionInfo> = {}): ConnectionInfo {
  const source = given.source ?? { address: "192.0.2.7", port: 40_000 };
  return {
    id: `test-${++lastId}`,
    listener: "127.0.0.1:8443",
    destination: DESTINATION,
    peer: source,
    protocol: "other",
    ...given,
    source,
  };
}

/** A TLS connection that asks for `serverName`. */
export function tlsConnection(serverName?: string, given: Partial<ConnectionInfo> = {}): ConnectionInfo {
  return connection({ protocol: "tls", tls: clientHello(serverName), ...given });
}

export function clientHello(serverName?: string, alpn: readonly string[] = []): ClientHelloInfo {
  return { ...(serverName !== undefined && { serverName }), alpn, versions: [0x0304, 0x0303] };
}
