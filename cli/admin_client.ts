import { z } from "zod";
import type { GatewayStatus, GatewayTunnel } from "../core/data_plane/snapshot.ts";
import type { RouteInfo } from "../core/plugin/reports.ts";
import { CommandError } from "./command_error.ts";
import { EXIT } from "./exit_codes.ts";

/** How to reach the admin side of a running gateway. */
export interface AdminTarget {
  /** `http://127.0.0.1:9090`; without a scheme it is http. */
  readonly admin: string;
  readonly token?: string | undefined;
}

/** How long a gateway may take to answer: its own deadline for an answer is 5 s. */
const ANSWER_TIMEOUT_MS = 7_000;

const TUNNEL: z.ZodType<GatewayTunnel> = z.looseObject({
  id: z.string(),
  plugin: z.string(),
  agent: z.string().exactOptional(),
  owner: z.string(),
  source: z.looseObject({ address: z.string(), port: z.number() }),
  since: z.number(),
  roundTripMs: z.number().exactOptional(),
  streams: z.number(),
  bytesIn: z.number(),
  bytesOut: z.number(),
  services: z.array(z.looseObject({
    id: z.string(),
    name: z.string(),
    protocol: z.string(),
    url: z.string(),
    target: z.string().exactOptional(),
  })),
});

/** What is read of `/api/v1/status`. A newer gateway may say more, and that is kept for `--json`. */
const STATUS: z.ZodType<GatewayStatus> = z.looseObject({
  version: z.string(),
  startedAt: z.number(),
  threads: z.number(),
  draining: z.boolean(),
  listeners: z.array(z.looseObject({ address: z.string(), kind: z.enum(["stream", "http"]) })),
  connections: z.looseObject({ active: z.number(), total: z.number() }),
  tunnels: z.looseObject({ active: z.number(), oldest: z.array(TUNNEL) }),
  bytes: z.looseObject({ in: z.number(), out: z.number() }),
  rejected: z.record(z.string(), z.number()),
  plugins: z.array(z.looseObject({
    name: z.string(),
    isolation: z.enum(["inline", "worker"]),
    module: z.string(),
    permissions: z.record(z.string(), z.union([z.array(z.string()), z.boolean()])),
    state: z.enum(["starting", "up", "down"]),
    restarts: z.number(),
    status: z.looseObject({
      ready: z.boolean(),
      reason: z.string().exactOptional(),
      details: z.record(z.string(), z.unknown()).exactOptional(),
    }),
  })),
  certificates: z.array(z.looseObject({
    names: z.array(z.string()),
    source: z.enum(["files", "acme", "development"]),
    notAfter: z.string(),
    state: z.enum(["valid", "pending", "failed"]),
    error: z.string().exactOptional(),
    nextAttempt: z.string().exactOptional(),
  })).exactOptional(),
  memory: z.number(),
  reloadError: z.string().exactOptional(),
});

/**
 * Asks a running gateway for its status.
 *
 * @param signal Ends the wait.
 * @throws {CommandError} When it is not there, does not let us in, or is something else.
 */
export async function fetchStatus(target: AdminTarget, signal: AbortSignal): Promise<GatewayStatus> {
  return await ask("/api/v1/status", STATUS, target, signal);
}

/** A row of `/api/v1/routes`. */
export type LiveRoute = RouteInfo & { readonly plugin: string };

const ROUTES: z.ZodType<{ readonly routes: readonly LiveRoute[] }> = z.looseObject({
  routes: z.array(z.looseObject({
    plugin: z.string(),
    match: z.string(),
    action: z.string(),
    targets: z.array(z.looseObject({ target: z.string(), healthy: z.boolean(), connections: z.number() }))
      .exactOptional(),
  })),
});

/** As {@link fetchStatus}: what goes where at the moment. */
export async function fetchRoutes(target: AdminTarget, signal: AbortSignal): Promise<readonly LiveRoute[]> {
  return (await ask("/api/v1/routes", ROUTES, target, signal)).routes;
}

async function ask<T>(
  path: string,
  shape: z.ZodType<T>,
  target: AdminTarget,
  signal: AbortSignal,
): Promise<T> {
  const base = parseAdmin(target.admin);
  const shown = `"${base.origin}"`;
  const { status, body } = await get(new URL(path, base), shown, target.token, signal);
  if (status !== 200) throw refusal(status, shown, target.token !== undefined);
  const parsed = shape.safeParse(parseJson(body));
  if (parsed.success) return parsed.data;
  throw new CommandError(`${shown} does not answer like the admin side of a gateway`, EXIT.couldNotStart);
}

function parseAdmin(text: string): URL {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.username === "" &&
    url.password === "";
  if (isPlain) return url;
  // Not the text itself: someone may have put a password into it.
  throw new CommandError(
    '--admin takes an address, as in "127.0.0.1:9090" or "https://admin.example.com"',
    EXIT.wrongUsage,
  );
}

async function get(
  url: URL,
  shown: string,
  token: string | undefined,
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new CommandError("The admin token has characters that no token has", EXIT.wrongUsage);
  }
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), ANSWER_TIMEOUT_MS);
  try {
    const response = await fetch(url, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      redirect: "manual", // the token is for this address and no other
      signal: AbortSignal.any([signal, late.signal]),
    });
    return { status: response.status, body: await response.text() };
  } catch (cause) {
    signal.throwIfAborted();
    const why = late.signal.aborted ? `no answer in ${ANSWER_TIMEOUT_MS / 1000} s` : "not reachable";
    throw new CommandError(
      `Cannot ask ${shown}: ${why}; is the gateway running? --admin names another address`,
      EXIT.couldNotStart,
      { cause },
    );
  } finally {
    clearTimeout(timer);
  }
}

function refusal(status: number, shown: string, hasToken: boolean): CommandError {
  switch (status) {
    case 401:
      return new CommandError(
        hasToken
          ? `${shown} refuses this admin token; it wants the one of admin.token in the gateway's config`
          : `${shown} asks for the admin token; give it in POSTERN_ADMIN_TOKEN, or with --token`,
        EXIT.lostForGood,
      );
    case 429:
      return new CommandError(
        `${shown} had too many wrong tokens from here; wait a minute`,
        EXIT.lostForGood,
      );
    case 403:
    case 421:
      return new CommandError(
        `${shown} is not how this gateway calls itself; use its admin.address`,
        EXIT.wrongUsage,
      );
    case 503:
    case 504:
      return new CommandError(
        `${shown} does not answer for the gateway; it is busy or stopping`,
        EXIT.couldNotStart,
      );
    default:
      return new CommandError(`${shown} is no admin side of a gateway: HTTP ${status}`, EXIT.couldNotStart);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
