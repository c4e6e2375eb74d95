import { duration, messageOf, namePattern, z } from "../../core/plugin/mod.ts";
import { parseHostNameTemplate } from "./host_name.ts";
import type { PortRange } from "./port_pool.ts";

/** The plugin's section of the config, checked. Plain data. */
export interface CloudflaredConfig {
  /** The program: a path, or a name that is looked for in the gateway's PATH. */
  readonly command: string;
  /** The server names that it takes: patterns in canonical form, each once; at least one. */
  readonly names: readonly string[];
  /** For `parseHostNameTemplate`. */
  readonly hostname: string;
  /** How long a tunnel without connections is kept; 0: for ever. */
  readonly idleTimeoutMs: number;
  /** How long the program may take until it listens. */
  readonly startupTimeoutMs: number;
  readonly ports: PortRange;
  readonly restart: RestartConfig;
  readonly serviceToken?: ServiceToken | undefined;
}

/** What happens when the program ends while connections go through it. */
export interface RestartConfig {
  /** The wait before the first restart, and after a tunnel was seen to fail; each one after it is twice as long. */
  readonly backoffMs: number;
  /** Restarts in a row before it gives up; 0: none. */
  readonly max: number;
}

/** A service token of Cloudflare Access. Both are secrets: they reach the program by its environment only. */
export interface ServiceToken {
  readonly id: string;
  readonly secret: string;
}

const MIN_STARTUP_MS = 100;
const MIN_BACKOFF_MS = 10;
const MAX_RESTARTS = 100;

const command = z.string().min(1, "Expected a program, got nothing")
  // A program named by a relative path would be another one in each folder that the gateway is started in.
  .refine(
    (text) => !text.includes("/") || text.startsWith("/"),
    "Give a name without folders, or a full path",
  );

const ports = z.union([z.string(), z.int()]).transform((given, context): PortRange => {
  const [, first = "", last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(given)) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (first !== "" && range.first >= 1 && range.last <= 65_535 && range.first <= range.last) return range;
  context.addIssue({
    code: "custom",
    message: `Expected ports such as "45000-46000", got ${JSON.stringify(given)}`,
  });
  return z.NEVER;
});

const hostname = z.string().superRefine((text, context) => {
  try {
    parseHostNameTemplate(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: messageOf(error) });
  }
});

const names = z.array(namePattern()).min(1, "Give at least one name").superRefine((list, context) => {
  for (const [i, name] of list.entries()) {
    if (list.indexOf(name) === i) continue;
    context.addIssue({ code: "custom", path: [i], message: `The name "${name}" is given twice` });
  }
});

// Printable ASCII: it becomes a header, and whatever else would only fail there, far from the mistake.
const secret = z.string().regex(/^[\x21-\x7e]{1,512}$/, "Expected up to 512 printable characters, no spaces");

/**
 * The program shows the token to whatever host it is told of. Where a client may name a host of its own, it could
 * have it.
 */
function keepToken(
  { names, hostname, serviceToken }: {
    readonly names: readonly string[];
    readonly hostname: string;
    readonly serviceToken?: unknown;
  },
  context: z.RefinementCtx,
): void {
  if (serviceToken === undefined || parseHostNameTemplate(hostname).hasDomain) return;
  for (const [i, name] of names.entries()) {
    if (!/^\*(?:\.[^.]+)?$/.test(name)) continue;
    context.addIssue({
      code: "custom",
      path: ["names", i],
      message: `With "${name}", clients could have the serviceToken shown to a host of their own; ` +
        `give names of your domains, such as "*.example.com", or a hostname that ends in one`,
    });
  }
}

/** Checks the section. */
export const cloudflaredConfig: z.ZodType<CloudflaredConfig> = z.strictObject({
  command: command.default("cloudflared"),
  names,
  hostname: hostname.default("cft-{sni}"),
  idleTimeout: duration().prefault("300s"),
  startupTimeout: duration({ min: MIN_STARTUP_MS }).prefault("15s"),
  ports: ports.prefault("45000-46000"),
  restart: z.strictObject({
    backoff: duration({ min: MIN_BACKOFF_MS }).prefault("2s"),
    max: z.int().min(0).max(MAX_RESTARTS).default(3),
  }).prefault({}),
  serviceToken: z.strictObject({ id: secret, secret }).optional(),
}).superRefine(keepToken).transform((
  { idleTimeout, startupTimeout, restart, serviceToken, ...rest },
): CloudflaredConfig => ({
  ...rest,
  idleTimeoutMs: idleTimeout,
  startupTimeoutMs: startupTimeout,
  restart: { backoffMs: restart.backoff, max: restart.max },
  ...(serviceToken && { serviceToken }),
}));
