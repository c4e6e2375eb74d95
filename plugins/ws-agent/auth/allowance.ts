import { type NamePattern, namePattern, parseNamePattern, z } from "../../../core/plugin/mod.ts";
import type { ServiceProtocol } from "../control/messages.ts";
import type { PortRange, RequestedService } from "./grant.ts";
import type { PrivateService } from "../private_name.ts";
import { matchesGlob } from "./name_glob.ts";

/** What an agent may register. An absent list sets no bound, an empty one allows nothing. */
export interface Allowance {
  /** Patterns for NAME in `NAME.domain`, see {@link matchesGlob}. */
  readonly subdomains?: readonly string[];
  /** Full host names, `NAME.domain` among them. */
  readonly hostnames: readonly NamePattern[];
  readonly ports?: readonly PortRange[];
  readonly protocols?: readonly ServiceProtocol[];
  /** Whether several agents may serve one name or port together. @default false */
  readonly share?: boolean;
  /** Private services of others that it may reach, as patterns `OWNER/NAME`. Absent: none. */
  readonly access?: readonly string[];
}

/** The answer to a service that is to be shared, where nothing says that it may be. */
export const NO_SHARING = "This token may not share services between agents (allow.share)";

/**
 * What somebody may register of whom nothing is said: any name right below the domain and any port, but no name of
 * another domain. Whoever has a name of its own pointed at the gateway says in a token who may use it.
 */
export const DEFAULT_ALLOWANCE: Allowance = { hostnames: [] };

const MAX_ENTRIES = 1000;
const MAX_LABEL = 63;
const MAX_ACCESS = 255;

const subdomain = z.string().transform((raw, context) => {
  const pattern = raw.toLowerCase();
  if (pattern.length <= MAX_LABEL && /^[a-z0-9_*](?:[a-z0-9_*-]*[a-z0-9_*])?$/.test(pattern)) return pattern;
  const message = 'Expected one label of a name, such as "demo", "ci-*" or "*"';
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

const port = z.int().min(1).max(65_535);

const portRange = z.union([port, z.string()]).transform((raw, context): PortRange => {
  const range = typeof raw === "number" ? { first: raw, last: raw } : parsePorts(raw);
  if (range !== undefined) return range;
  const message = 'Expected a port or a range of ports, such as "30000-30100", from 1 to 65535';
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

/** One slash, so that no star reaches over it from one tenant's services to another's. */
const access = z.string().transform((pattern, context) => {
  if (pattern.length <= MAX_ACCESS && /^[^\s/]+\/[\w.*-]+$/.test(pattern)) return pattern;
  const message = 'Expected a private service as OWNER/NAME, such as "alice/db", "alice/*" or "*/status"';
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

function list<T extends z.ZodType>(entry: T): z.ZodArray<T> {
  return z.array(entry).max(MAX_ENTRIES);
}

/** The bounds of an {@link Allowance}, as they are written in a token file and in the claims of a JWT. */
export const ALLOWANCE_FIELDS = {
  subdomains: list(subdomain),
  hostnames: list(namePattern().transform((text) => parseNamePattern(text))),
  ports: z.union([
    portRange.transform((range): readonly PortRange[] => [range]),
    list(portRange),
  ]),
  /** One entry of `ports`. */
  portRange,
  protocols: list(z.enum(["http", "tcp", "tls", "udp"])),
  share: z.boolean(),
  access: list(access),
} as const;

/** Reads `30000` or `30000-30100`. @returns `undefined` for what is neither. */
export function parsePorts(text: string): PortRange | undefined {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const first = Number(from), last = Number(to);
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined;
}

/** The inverse of {@link parsePorts}. */
export function formatPorts({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/**
 * Why a service may not be registered, or `undefined` when it may.
 *
 * @param domain The one that agents get names below of, canonical.
 */
export function denialOf(
  allowance: Allowance,
  service: RequestedService,
  domain: string,
): string | undefined {
  const { protocol, hostname } = service;
  if (allowance.protocols?.includes(protocol) === false) return `This token may not expose ${protocol}`;
  if (service.shared && allowance.share !== true) return NO_SHARING;
  if (service.private === true) return undefined; // it takes no name and no port from anybody
  const isNamed = protocol === "http" || protocol === "tls";
  const wrongName = isNamed || hostname !== undefined ? nameDenial(allowance, hostname, domain) : undefined;
  return wrongName ?? (isNamed ? undefined : portDenial(allowance, service.port ?? 0));
}

/** By the name itself, not by what the service is said to be: `a.b.domain` is no `NAME.domain`. */
function nameDenial(
  { subdomains, hostnames }: Allowance,
  hostname: string | undefined,
  domain: string,
): string | undefined {
  if (hostname === undefined) return "A service of this kind needs a host name";
  if (hostnames.some((pattern) => pattern.matches(hostname))) return undefined;
  const label = labelBelow(hostname, domain);
  if (label !== undefined && (subdomains?.some((pattern) => matchesGlob(pattern, label)) ?? true)) {
    return undefined;
  }
  return `This token may not have the name ${JSON.stringify(hostname)}`;
}

function labelBelow(hostname: string, domain: string): string | undefined {
  if (!hostname.endsWith(`.${domain}`)) return undefined;
  const label = hostname.slice(0, -domain.length - 1);
  return label.includes(".") ? undefined : label;
}

function portDenial({ ports }: Allowance, port: number): string | undefined {
  if (ports === undefined) return undefined;
  if (ports.length === 0) return "This token may not have a port";
  if (ports.some(({ first, last }) => port >= first && port <= last)) return undefined;
  const allowed = ports.slice(0, 5).map(formatPorts).join(", ");
  return port === 0
    ? `This token may only have ports of ${allowed}: ask for one of them`
    : `This token may not have port ${port}, only those of ${allowed}`;
}

/** Whether a private service of somebody else may be reached. Both parts are matched by themselves. */
export function mayAccess({ access = [] }: Allowance, { owner, name }: PrivateService): boolean {
  return access.some((pattern) => {
    const slash = pattern.indexOf("/");
    return matchesGlob(pattern.slice(0, slash), owner) && matchesGlob(pattern.slice(slash + 1), name);
  });
}
