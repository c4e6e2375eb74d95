import type { Child } from "hono/jsx";
import type { AdminMethods } from "../../data_plane/snapshot.ts";
import type { Log } from "../../log.ts";
import type { Access } from "../access.ts";
import type { AdminContext } from "../answers.ts";
import type { AdminApp } from "../api.ts";
import { wantsPage } from "../negotiation.ts";
import { findAsset } from "./assets.ts";
import { CertificatesPage } from "./certificates_page.tsx";
import { ConnectionsPage } from "./connections_page.tsx";
import { EventsPage } from "./events_page.tsx";
import { readForm } from "./form.ts";
import { type Frame, type Notice, NOTICES, type PagePath, PAGES } from "./layout.tsx";
import { FaultPage, LoginPage } from "./login_page.tsx";
import { OverviewPage } from "./overview_page.tsx";
import { PluginsPage } from "./plugins_page.tsx";
import { addressOf, type Asked, PAGE_ROWS } from "./table.tsx";
import { TunnelsPage } from "./tunnels_page.tsx";

export interface DashboardOptions {
  readonly access: Access;
  readonly log: Log;
  /** Waits for the supervisor, but not for ever. */
  readonly ask: <T>(answer: Promise<T>) => Promise<T>;
}

/** Pages of a table: ten thousand rows, as many as the API gives out. */
const MAX_PAGES = 100;
/** Characters of a filter; each row is searched for it. */
export const MAX_FILTER = 200;

/** A browser asks for these by an address with the version of what it wants. */
const ASSET_CACHING = "private, max-age=31536000, immutable";

/** Adds the pages, what they load, and what their forms do. */
export function addDashboard(app: AdminApp, gateway: AdminMethods, options: DashboardOptions): void {
  const { access, ask } = options;
  const frameOf = (c: AdminContext, path: PagePath): Frame => ({
    path,
    formToken: access.formToken(c),
    session: access.session(c) !== undefined,
    notice: noticeOf(c.req.query("notice")),
  });
  const page = (path: PagePath, render: (c: AdminContext, frame: Frame) => Promise<Child>) =>
    app.get(path, async (c, next) => {
      if (path === "/" && !wantsPage(c)) return await next(); // the list of places
      return html(c, await render(c, frameOf(c, path)));
    });

  page("/", async (_c, frame) => {
    const [status, live] = await ask(Promise.all([gateway.status(), gateway.live(0)]));
    return <OverviewPage frame={frame} status={status} live={live} />;
  });
  page("/tunnels", async (c, frame) => {
    const asked = askedOf((name) => c.req.query(name));
    const rows = await ask(gateway.tunnels(asked.page * PAGE_ROWS + 1, asked.filter));
    return <TunnelsPage frame={frame} asked={asked} {...pageOf(rows, asked)} />;
  });
  page("/connections", async (c, frame) => {
    const asked = askedOf((name) => c.req.query(name));
    const rows = await ask(gateway.connections(asked.page * PAGE_ROWS + 1, asked.filter));
    return <ConnectionsPage frame={frame} asked={asked} {...pageOf(rows, asked)} />;
  });
  page("/plugins", async (_c, frame) => {
    return <PluginsPage frame={frame} plugins={(await ask(gateway.status(0))).plugins} />;
  });
  page("/certificates", async (_c, frame) => {
    return <CertificatesPage frame={frame} certificates={(await ask(gateway.status(0))).certificates} />;
  });
  page("/events", async (_c, frame) => {
    return <EventsPage frame={frame} events={(await ask(gateway.live(0))).events} />;
  });

  app.get("/assets/:name", (c, next) => {
    const asset = findAsset(c.req.param("name"));
    if (asset === undefined) return next();
    if (c.req.query("v") === asset.version) c.header("cache-control", ASSET_CACHING);
    return c.body(asset.text, 200, { "content-type": asset.contentType });
  });
  addLogin(app, options);
  addAction(app, "/tunnels", "tunnel", (id) => gateway.closeTunnel(id), options);
  addAction(app, "/connections", "connection", (id) => gateway.closeConnection(id), options);
}

function addLogin(app: AdminApp, { access, log }: DashboardOptions): void {
  app.get("/login", (c) => {
    const next = pagePath(c.req.query("next"));
    if (!access.gate.required || access.session(c) !== undefined) return c.redirect(next, 303);
    return html(c, <LoginPage next={next} />);
  });
  app.post("/login", async (c) => {
    const form = await readForm(c);
    const next = pagePath(form.get("next"));
    if (!access.gate.required) return c.redirect(next, 303);
    const verdict = access.logIn(c, form.get("token") ?? "", c.env.source);
    if (verdict === "ok") {
      log.info("admin_login", { source: c.env.source });
      return c.redirect(next, 303);
    }
    log.warn("admin_login_refused", { source: c.env.source, reason: verdict });
    return html(c, <LoginPage next={next} fault={verdict} />, verdict === "blocked" ? 429 : 401);
  });
  app.post("/logout", async (c) => {
    if (!access.ownForm(c, (await readForm(c)).get("token") ?? "")) return foreignForm(c);
    access.logOut(c);
    return c.redirect("/login", 303);
  });
}

/** What a row's button does. */
function addAction(
  app: AdminApp,
  path: "/tunnels" | "/connections",
  what: "tunnel" | "connection",
  close: (id: string) => Promise<boolean>,
  { access, log, ask }: DashboardOptions,
): void {
  app.post(`${path}/close`, async (c) => {
    const form = await readForm(c);
    if (!access.ownForm(c, form.get("token") ?? "")) return foreignForm(c);
    const id = form.get("id") ?? "";
    const closed = await ask(close(id));
    if (closed) log.info(`admin_closed_${what}`, { [what]: id, source: c.env.source });
    const notice: Notice = `${what}-${closed ? "closed" : "gone"}`;
    return c.redirect(addressOf(path, askedOf((name) => form.get(name) ?? undefined), { notice }), 303);
  });
}

function askedOf(value: (name: string) => string | undefined): Asked {
  const page = /^\d{1,3}$/.test(value("page") ?? "") ? Number(value("page")) : 1;
  const filter = (value("filter") ?? "").trim().slice(0, MAX_FILTER);
  return { filter, page: Math.min(Math.max(page, 1), MAX_PAGES) };
}

/** The rows of one page, of all up to its end and perhaps one more. */
function pageOf<Row>(rows: readonly Row[], { page }: Asked): { rows: readonly Row[]; more: boolean } {
  const end = page * PAGE_ROWS;
  return { rows: rows.slice(end - PAGE_ROWS, end), more: rows.length > end && page < MAX_PAGES };
}

function noticeOf(text: string | undefined): Notice | undefined {
  return text !== undefined && Object.hasOwn(NOTICES, text) ? text as Notice : undefined;
}

/** Only to one of our own pages: an address from elsewhere would lead somebody who logs in away. */
function pagePath(text: string | null | undefined): PagePath {
  return PAGES.find(({ path }) => path === text)?.path ?? "/";
}

function foreignForm(c: AdminContext): Response {
  const message = "This form is not of this session. Load the page again, and press the button then.";
  return html(c, <FaultPage title="Out of date" message={message} />, 403);
}

/** The page of somebody whose request failed. */
export function faultPage(c: AdminContext, title: string, message: string, status: FaultStatus): Response {
  return html(c, <FaultPage title={title} message={message} />, status);
}

type FaultStatus = 401 | 403 | 404 | 429 | 500 | 503 | 504;

function html(c: AdminContext, page: Child, status: 200 | FaultStatus = 200): Response {
  return c.body(`<!doctype html>${page}`, status, { "content-type": "text/html; charset=utf-8" });
}
