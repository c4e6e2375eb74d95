import { encodeProxyV1, encodeProxyV2 } from "../../../core/data_plane/preface/proxy_protocol.ts";
import type { StreamHeader } from "../stream_header.ts";
import type { ClientAddress, PublicConnection } from "./in_process/handler.ts";
import type { AgentService } from "./settings.ts";

/** A public connection, as programs are told of it. */
export function describeConnection(
  { name: service, protocol }: AgentService,
  { connectionId: id, source, destination, name }: StreamHeader,
): PublicConnection {
  const place = ({ address, port }: ClientAddress) => ({ address, port });
  return {
    id,
    service,
    protocol,
    client: place(source),
    destination: place(destination),
    ...(name !== undefined && { hostname: name }),
  };
}

/** What the target is sent before anything else. */
export function proxyHeader(
  { proxyProtocol }: AgentService,
  { source, destination }: StreamHeader,
): Uint8Array | undefined {
  switch (proxyProtocol) {
    case "off":
      return undefined;
    case "v1":
      return encodeProxyV1(source, destination);
    case "v2":
      return encodeProxyV2(source, destination);
    case "simple": // for datagrams alone
      return undefined;
  }
}
