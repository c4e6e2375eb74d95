import { canonicalName } from "../../core/plugin/mod.ts";
import type { WsAgentConfig } from "./config.ts";

/** What leases are keyed by. `http` and `tls` share the names. */
export type LeaseKey = `name:${string}` | `port:${number}` | `udp:${number}` | `private:${string}`;

/** @param host Canonical. */
export function nameKey(host: string): LeaseKey {
  return `name:${host}`;
}

export function portKey(port: number): LeaseKey {
  return `port:${port}`;
}

/** A UDP port: one of the same number may be somebody else's for TCP. */
export function udpKey(port: number): LeaseKey {
  return `udp:${port}`;
}

/** The host name in a key, or nothing when it is one of a port. */
export function hostOfKey(key: string): string | undefined {
  return key.startsWith("name:") ? key.slice(5) : undefined;
}

/** The TCP port in a key, or nothing when it is another one. */
export function portOfKey(key: string): number | undefined {
  return key.startsWith("port:") ? Number(key.slice(5)) : undefined;
}

/** The UDP port in a key, or nothing when it is another one. */
export function udpPortOfKey(key: string): number | undefined {
  return key.startsWith("udp:") ? Number(key.slice(4)) : undefined;
}

/** Where a service is to be public. */
export interface PublicName {
  /** Canonical. */
  readonly hostname: string;
  /** Whether it is one label below the domain, however it was asked for. */
  readonly isSubdomain: boolean;
}

/** Why a host name is not given out: a word for the metric, and a text for the agent. */
export interface NameRefusal {
  readonly refused: "bad_name" | "reserved_name";
  readonly message: string;
}

/** For log and status, and a label when it is to be a host name: what every DNS tool takes. */
const SERVICE_NAME = /^[\w](?:[\w.-]{0,61}[\w])?$/;

/** Whether `name` may be the name of a service, public or not. */
export function isServiceName(name: string): boolean {
  return SERVICE_NAME.test(name);
}

type Places = Pick<WsAgentConfig, "domain" | "endpoint">;

/**
 * The name that a service of `http` or `tls` is public by: the full one that it asks for, or `NAME.domain`.
 *
 * The same rules hold for both, so that a full name is no way around what a label may not be.
 */
export function publicNameOf(
  { name, hostname }: { readonly name: string; readonly hostname?: string | undefined },
  places: Places,
): PublicName | NameRefusal {
  const { domain, endpoint } = places;
  if (hostname === undefined && name.includes(".")) {
    return badName(`"${name}" is not one label; a full name is given as hostname`);
  }
  const asked = hostname ?? `${name}.${domain}`;
  const canonical = canonicalName(asked);
  if (canonical === undefined || !canonical.includes(".")) {
    return badName(`"${asked}" is not a host name`);
  }
  if (canonical === endpoint || canonical === domain) {
    return { refused: "reserved_name", message: `"${canonical}" is the gateway's own name` };
  }
  return { hostname: canonical, isSubdomain: isDirectlyUnder(canonical, domain) };
}

/** Whether `name` is below `domain`, by any number of labels. Both are canonical. */
export function isUnder(name: string, domain: string): boolean {
  return name.length > domain.length && name.endsWith(domain) &&
    name.charCodeAt(name.length - domain.length - 1) === 0x2e;
}

function isDirectlyUnder(name: string, domain: string): boolean {
  return isUnder(name, domain) && name.indexOf(".") === name.length - domain.length - 1;
}

function badName(message: string): NameRefusal {
  return { refused: "bad_name", message };
}
