/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import { Buffer } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import { type Context, Hono } from "hono";
import type { HostGuard } from "../../../../core/admin/host_guard.ts";
import { viewBody } from "../body_view.ts";
import { type Exchange, headersOf } from "../exchange.ts";
import type { ExchangeLog } from "../exchange_log.ts";
import { type Replayer, ReplayRefused } from "../replay.ts";
import type { ChangeStreams } from "./change_streams.ts";
import { ExchangeArticle } from "./exchange_article.tsx";
import { readForm } from "./form.ts";
import { Page } from "./page.tsx";
import { within } from "./within.ts";
import SCRIPT from "./script.js" with { type: "text" };
import STYLE from "./style.css" with { type: "text" };

export interface InspectorParts {
  readonly log: ExchangeLog;
  readonly replayer: Replayer;
  readonly streams: ChangeStreams;
  readonly guard: HostGuard;
}

/** The inspector's page as an application: `fetch(request)`. */
export type InspectorApp = Hono;

/** How long the answer to a replay waits for the replay, so that a page without script shows what came of it. */
const REPLAY_WAIT_MS = 2000;

/** What is shown comes from strangers: nothing of it may run, load, be framed, sniffed or kept. */
const SECURITY_HEADERS = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "same-origin", // with "no-referrer", a browser says "Origin: null" of our own forms
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
} as const;

/**
 * The page of the inspector. Each request goes through the same checks: whom it is meant for, who sent it, and, when it is to change
 * something, whether the form was one of ours.
 */
export function inspectorApp({ log, replayer, streams, guard }: InspectorParts): InspectorApp {
  const app: InspectorApp = new Hono();
  /** Only a page of ours has it, whatever a browser says of who sends a form. */
  const formToken = crypto.getRandomValues(new Uint8Array(16)).toHex();

  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.header(name, value);
  });
  app.use(async (c, next) => {
    const refusal = guard.refusal(c.req.raw);
    return refusal === undefined ? await next() : c.text(`${refusal.message}\n`, refusal.status);
  });
  app.post("*", async (c, next) => {
    const token = (await readForm(c.req.raw))?.get("token") ?? "";
    return isSame(token, formToken) ? await next() : c.text("Reload the page, and try again\n", 403);
  });

  app.get("/", (c) => c.html(<Page log={log} formToken={formToken} />));
  app.get("/exchanges/:id", async (c) => {
    const exchange = find(c, log);
    if (exchange === undefined) return gone(c);
    const { request, response } = exchange;
    const bodies = {
      request: await viewBody(headersOf(request), request.body),
      response: response && await viewBody(headersOf(response), response.body),
    };
    const showSecrets = c.req.query("show") === "secrets";
    return c.html(
      <Page log={log} formToken={formToken} current={exchange}>
        <ExchangeArticle
          exchange={exchange}
          bodies={bodies}
          showSecrets={showSecrets}
          formToken={formToken}
        />
      </Page>,
    );
  });
  app.post("/exchanges/:id/replay", async (c) => {
    const exchange = find(c, log);
    if (exchange === undefined) return gone(c);
    try {
      const replay = replayer.replay(exchange);
      await within(REPLAY_WAIT_MS, replay.ended);
      return c.redirect(`/exchanges/${replay.exchange.id}`, 303);
    } catch (error) {
      if (error instanceof ReplayRefused) return c.text(`${error.message}\n`, 409);
      throw error;
    }
  });
  app.post("/clear", (c) => {
    log.clear();
    return c.redirect("/", 303);
  });
  app.get("/events", (c) => {
    const headers = { "content-type": "text/event-stream" };
    if (c.req.method === "HEAD") return c.body(null, 200, headers); // nobody would read the stream, or cancel it
    const stream = streams.open();
    return stream === undefined ? c.text("Too many pages are open\n", 503) : c.body(stream, 200, headers);
  });
  app.get("/style.css", (c) => c.body(STYLE, 200, { "content-type": "text/css; charset=utf-8" }));
  app.get("/script.js", (c) => c.body(SCRIPT, 200, { "content-type": "text/javascript; charset=utf-8" }));

  for (const path of ["/", "/exchanges/:id", "/events", "/style.css", "/script.js"]) {
    app.all(path, (c) => c.text("Method not allowed\n", 405, { allow: "GET, HEAD" }));
  }
  for (const path of ["/exchanges/:id/replay", "/clear"]) {
    app.all(path, (c) => c.text("Method not allowed\n", 405, { allow: "POST" }));
  }
  app.notFound((c) => c.text("Nothing here\n", 404));
  app.onError((_, c) => c.text("This did not work\n", 500));
  return app;
}

function find(c: Context, log: ExchangeLog): Exchange | undefined {
  const id = c.req.param("id") ?? "";
  return /^[1-9]\d{0,14}$/.test(id) ? log.get(Number(id)) : undefined;
}

function gone(c: Context): Response {
  return c.text("There is no such request, or not any more\n", 404);
}

function isSame(shown: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(shown), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
}
