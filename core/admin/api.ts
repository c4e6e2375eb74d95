import { Hono } from "hono";
import type { AdminMethods } from "../data_plane/snapshot.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Access } from "./access.ts";
import { ANSWER_TIMEOUT_MS, answerWithin, NoAnswer } from "./answer_within.ts";
import { formFromNowhere, notAdmitted, oversized } from "./admission.ts";
import { type AdminBindings, type AdminContext, fail, json } from "./answers.ts";
import { FORM_PATHS } from "./dashboard/form.ts";
import { PAGES } from "./dashboard/layout.tsx";
import { addDashboard, faultPage, MAX_FILTER } from "./dashboard/routes.tsx";
import type { HostGuard } from "./host_guard.ts";
import type { LiveHub } from "./live_hub.ts";
import { maskText } from "./mask.ts";
import { wantsPage } from "./negotiation.ts";
import { renderMetrics } from "./prometheus.ts";

export interface AdminAppOptions {
  readonly access: Access;
  /** Whoever made it stops it. */
  readonly live: LiveHub;
  readonly guard: HostGuard;
  readonly log: Log;
  /** How long the supervisor may take to answer. @default 5000 */
  readonly answerTimeoutMs?: number;
}

/** The admin side as an application: `fetch(request, { source })`. */
export type AdminApp = Hono<{ Bindings: AdminBindings }>;

/** Rows of `/api/v1/connections` and `/api/v1/tunnels` when nothing else is asked for, and at most. */
const DEFAULT_ROWS = 1_000;
const MAX_ROWS = 10_000;

/** `/readyz` is read by machines and shown in one line of a dashboard. */
const MAX_REASONS = 32;
const MAX_REASON_LENGTH = 300;

/** No page of ours is framed, sniffed, or lets anything else be loaded into it. */
const SECURITY_HEADERS = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
} as const;

/** What is no page loads nothing, sends nothing, and tells nobody where it was. */
const DATA_HEADERS = {
  "content-security-policy":
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
} as const;

/** A page loads what is ours, and nothing that stands in the page itself. */
const PAGE_HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  // With `no-referrer` a browser leaves the origin out of what its forms send, and that is what we know them by.
  "referrer-policy": "same-origin",
} as const;

/**
 * The admin API: health, metrics, and what the gateway does right now.
 *
 * Every request goes through the same checks in the same order: its size, whom it is meant for and who sent it,
 * the token; only then is it looked at.
 */
export function adminApp(gateway: AdminMethods, options: AdminAppOptions): AdminApp {
  const { access, live, guard, log, answerTimeoutMs = ANSWER_TIMEOUT_MS } = options;
  const { gate } = access;
  const ask = <T>(answer: Promise<T>) => answerWithin(answerTimeoutMs, answer);
  const app: AdminApp = new Hono();

  app.use(async (c, next) => {
    await next();
    const isPage = c.res.headers.get("content-type")?.startsWith("text/html");
    const headers = { ...SECURITY_HEADERS, ...(isPage ? PAGE_HEADERS : DATA_HEADERS) };
    for (const [name, value] of Object.entries(headers)) c.header(name, value);
    if (!c.res.headers.has("cache-control")) c.header("cache-control", "no-store");
  });
  app.use(async (c, next) => oversized(c) ?? await next());
  app.use(async (c, next) => {
    const refusal = guard.refusal(c.req.raw);
    return refusal === undefined ? await next() : fail(c, refusal.status, refusal.code, refusal.message);
  });
  app.use(async (c, next) => formFromNowhere(c) ?? await next());
  app.use(async (c, next) => notAdmitted(c, access) ?? await next());

  addDashboard(app, gateway, { access, log, ask });
  app.get("/", (c) => json(c, PLACES));
  app.get("/healthz", (c) => c.text("ok\n"));
  app.get("/readyz", async (c) => {
    const { ready, reasons } = await ask(gateway.readiness()).catch((error) => {
      log.error("readiness_unknown", { error: maskText(messageOf(error)) });
      return { ready: false, reasons: ["the gateway does not say whether it is ready"] };
    });
    return ready ? c.text("ready\n") : c.text(reasons.slice(0, MAX_REASONS).map(reasonLine).join(""), 503);
  });
  app.get("/metrics", async (c) => {
    const [{ planes, plugins }, status] = await ask(Promise.all([gateway.metrics(), gateway.status(0)]));
    const { contentType, body } = renderMetrics({ planes, plugins, own: gate.samples(), status });
    return c.body(body, 200, { "content-type": contentType });
  });
  app.get("/api/v1/status", async (c) => json(c, await ask(gateway.status())));
  app.get("/api/v1/plugins", async (c) => json(c, { plugins: (await ask(gateway.status(0))).plugins }));
  app.get("/api/v1/routes", async (c) => json(c, { routes: await ask(gateway.routes()) }));
  app.get("/api/v1/connections", async (c) => {
    const { limit, filter, fault } = askedOf(c);
    if (fault) return fault;
    const rows = await ask(gateway.connections(limit + 1, filter));
    return json(c, { connections: rows.slice(0, limit), truncated: rows.length > limit });
  });
  app.delete("/api/v1/connections/:id", async (c) => {
    const closed = await ask(gateway.closeConnection(c.req.param("id")));
    return closed ? c.body(null, 204) : fail(c, 404, "not_found", "No such connection");
  });
  app.get("/api/v1/tunnels", async (c) => {
    const { limit, filter, fault } = askedOf(c);
    if (fault) return fault;
    const rows = await ask(gateway.tunnels(limit + 1, filter));
    return json(c, { tunnels: rows.slice(0, limit), truncated: rows.length > limit });
  });
  app.delete("/api/v1/tunnels/:id", async (c) => {
    const closed = await ask(gateway.closeTunnel(c.req.param("id")));
    return closed ? c.body(null, 204) : fail(c, 404, "not_found", "No such tunnel");
  });

  app.get("/api/v1/events", (c) => {
    const headers = {
      "content-type": "text/event-stream",
      "cache-control": "no-store, no-transform", // compressed, events would wait for others
      "x-accel-buffering": "no",
    };
    if (c.req.method === "HEAD") return c.body(null, 200, headers); // nobody would read the stream
    const after = parseSequence(c.req.header("last-event-id"));
    const stream = live.open({ after, permitted: access.permission(c) });
    return stream === undefined
      ? fail(c, 503, "too_many_listeners", "Too many listen already, or the gateway is stopping")
      : c.body(stream, 200, headers);
  });

  for (const { path } of PAGES) app.all(path, (c) => wrongMethod(c, "GET, HEAD"));
  for (const path of FORM_PATHS) {
    app.all(path, (c) => wrongMethod(c, path === "/login" ? "GET, HEAD, POST" : "POST"));
  }
  for (const path of Object.keys(PLACES.places)) app.all(path, (c) => wrongMethod(c, "GET, HEAD"));
  for (const rows of ["connections", "tunnels"]) {
    app.all(`/api/v1/${rows}/:id`, (c) => wrongMethod(c, "DELETE"));
  }
  app.notFound((c) => {
    if (wantsPage(c)) return faultPage(c, "Not found", "There is nothing here.", 404);
    return fail(c, 404, "not_found", "Nothing here; GET / lists what there is");
  });
  app.onError((error, c) => {
    log.error("admin_request_failed", { path: c.req.path, error: maskText(messageOf(error)) });
    return failure(c, error);
  });
  return app;
}

/** `GET /`, for those who ask for no page. */
const PLACES = {
  name: "Postern",
  places: {
    "/": "this list; the dashboard for a browser",
    "/healthz": "200 while the process is alive; no token",
    "/readyz": "200 when every plugin is ready, else 503 with a line for each that is not; no token",
    "/metrics": "for Prometheus",
    "/api/v1/status": "the gateway as a whole",
    "/api/v1/connections":
      "open connections, oldest first; ?limit=, ?filter=; DELETE /api/v1/connections/ID closes one",
    "/api/v1/tunnels":
      "agents that are connected, oldest first; ?limit=, ?filter=; DELETE /api/v1/tunnels/ID disconnects one",
    "/api/v1/plugins": "plugins, their state and what each was granted",
    "/api/v1/routes": "what goes where",
    "/api/v1/events": "what goes on, once a second, as server-sent events",
  },
} as const;

function wrongMethod(c: AdminContext, allow: string): Response {
  c.header("allow", allow);
  return fail(c, 405, "method_not_allowed", `Use ${allow}`);
}

/** The answer to something that was thrown. Its own words go to the log: nobody knows what is in them. */
function failure(c: AdminContext, error: unknown): Response {
  const tell = (status: 500 | 503 | 504, code: string, message: string) =>
    wantsPage(c) ? faultPage(c, "Not now", message, status) : fail(c, status, code, message);
  if (error instanceof NoAnswer) return tell(504, "no_answer", "The gateway did not answer in time");
  if (error instanceof GatewayError && error.code === "rpc-closed") {
    return tell(503, "stopping", "The gateway is stopping");
  }
  return tell(500, "internal", "Could not answer; the log says why");
}

function reasonLine(reason: string): string {
  // deno-lint-ignore no-control-regex -- one reason is one line, and a terminal shows it
  return maskText(reason).slice(0, MAX_REASON_LENGTH).replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, " ") +
    "\n";
}

/** Which rows are asked for; `fault` is the answer to a query that does not fit. */
function askedOf(
  c: AdminContext,
): { readonly limit: number; readonly filter: string | undefined; readonly fault?: Response } {
  const filter = c.req.query("filter");
  const limit = parseLimit(c.req.query("limit"));
  const bad = (message: string) => ({ limit: 0, filter, fault: fail(c, 400, "bad_request", message) });
  if (limit === undefined) return bad(`"limit" is a number from 1 to ${MAX_ROWS}`);
  if ((filter?.length ?? 0) > MAX_FILTER) return bad(`"filter" has at most ${MAX_FILTER} characters`);
  return { limit, filter };
}

function parseLimit(text: string | undefined): number | undefined {
  if (text === undefined) return DEFAULT_ROWS;
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return limit >= 1 && limit <= MAX_ROWS ? limit : undefined;
}

function parseSequence(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
