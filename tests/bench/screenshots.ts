/**
 * `deno task screenshots`: pictures of the dashboard for the README, in light at the width of a desk and in dark at
 * that of a phone, in front of a gateway that is made up, so that every page has something to show.
 */
import { Access } from "../../core/admin/access.ts";
import { type AdminApp, adminApp } from "../../core/admin/api.ts";
import { PAGES } from "../../core/admin/dashboard/layout.tsx";
import { HostGuard } from "../../core/admin/host_guard.ts";
import { LiveHub } from "../../core/admin/live_hub.ts";
import { Sessions } from "../../core/admin/sessions.ts";
import { TokenGate } from "../../core/admin/token_gate.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { TestBrowser } from "../support/browser.ts";
import { madeUpGateway } from "./made_up_gateway.ts";

const IMAGES = new URL("../../docs/images/", import.meta.url).pathname;
const TOKEN = "screenshots";
const VIEWS = [
  { width: 1280, height: 800, colorScheme: "light" },
  { width: 390, height: 844, colorScheme: "dark" },
] as const;

const { gateway, filled } = madeUpGateway();
const live = new LiveHub({ live: gateway.live, intervalMs: 10 });
let app: AdminApp | undefined = undefined; // needs the port
const server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  (request, { remoteAddr }) =>
    app?.fetch(request, { source: remoteAddr.hostname }) ?? new Response(null, { status: 503 }),
);
const { hostname, port } = server.addr;
const access = new Access({ gate: new TokenGate(TOKEN), sessions: new Sessions(), port });
const guard = new HostGuard({ hostname }, { hostname, port });
app = adminApp(gateway, { access, live, guard, log: SILENT_LOG });

await Deno.mkdir(IMAGES, { recursive: true });
{
  await using browser = await TestBrowser.start();
  for (const { width, height, colorScheme } of VIEWS) {
    const { page, complaints } = await browser.open({
      viewport: { width, height },
      colorScheme,
      timezoneId: "UTC",
      reducedMotion: "reduce",
    });
    await page.goto(`http://${hostname}:${port}/`);
    await page.fill("#token", TOKEN);
    await page.click("button");
    await filled;
    for (const { path, title } of PAGES) {
      await page.goto(`http://${hostname}:${port}${path}`);
      await page.waitForSelector("#live:has-text('live')");
      if (path === "/") await page.waitForSelector(".chart canvas");
      await page.evaluate("new Promise((done) => setTimeout(done, 500))");
      await page.screenshot({ path: `${IMAGES}dashboard-${title.toLowerCase()}-${width}.png` });
    }
    if (complaints.length > 0) throw new Error(complaints.join("\n"));
  }
}
live.stop();
await server.shutdown();
