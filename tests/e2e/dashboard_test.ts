/** The dashboard in a real browser: in front of a whole gateway with an agent, and of one in which everything is hostile. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { PAGES } from "../../core/admin/dashboard/layout.tsx";
import { hostileGateway } from "../core/admin/hostile_gateway.ts";
import { LIVE, openAdmin, type TestAdmin } from "../core/admin/harness.ts";
import { HAS_BROWSER, TestBrowser } from "../support/browser.ts";
import { startEcho } from "../support/echo.ts";
import { tcp, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ignore = !HAS_BROWSER || !can("chromium");
const TOKEN = "the-admin-token";

function urlOf({ address }: TestAdmin): string {
  return `http://127.0.0.1:${address.port}`;
}

async function logIn(page: Page, url: string, path = "/"): Promise<void> {
  await page.goto(`${url}${path}`);
  await page.fill("#token", TOKEN);
  await page.click("button");
}

/** Resolves when an expression is true in the page. */
async function sees(page: Page, expression: string): Promise<void> {
  // Not by waitForFunction, which evaluates in the page: its Content-Security-Policy forbids that.
  await until(() => page.evaluate<boolean>(expression), { what: expression, deadlineMs: 15_000 });
}

Deno.test({
  name: "Chromium shows the dashboard",
  ignore,
  async fn(t) {
    await using browser = await TestBrowser.start();

    await t.step("a tunnel appears without a reload, and a click disconnects its agent", async () => {
      await using echo = startEcho();
      await using tunnels = await Tunnels.start();
      const { page, complaints } = await browser.open();
      page.on("dialog", (dialog) => void dialog.accept());
      await page.goto(tunnels.gateway.adminUrl);
      assert.equal(await page.textContent('[data-live="tunnels"]'), "0");

      await tunnels.agent([tcp("shell", echo.target)]);
      await sees(page, `document.querySelector('[data-live="tunnels"]').textContent === "1"`);
      await sees(page, `document.getElementById("latest").textContent.includes("tunnel_opened")`);
      assert.equal(await page.locator(".chart canvas").count(), 4);

      await page.click("nav >> text=Tunnels");
      await page.waitForSelector("text=shell");
      const [before] = await tunnels.rows();
      await page.click("text=Disconnect");
      await page.waitForSelector("text=The tunnel is disconnected");
      assert.equal(new URL(page.url()).pathname, "/tunnels");
      const gone = async () => (await tunnels.rows()).every(({ id }) => id !== before?.id);
      await until(gone, { what: "the tunnel to be gone" });
      const { reason } = await tunnels.gateway.logged("tunnel_closed", ({ tunnel }) => tunnel === before?.id);
      assert.equal(typeof reason, "string");
      assert.deepEqual(complaints, []);
      await page.context().close();
    });

    await using admin = await openAdmin(hostileGateway(), { token: TOKEN });
    const url = urlOf(admin);

    await t.step("what strangers name is text on every page, and moves nothing at any width", async () => {
      const { page, complaints } = await browser.open();
      await logIn(page, url);
      for (const { path } of PAGES) {
        await page.goto(`${url}${path}`);
        await sees(page, `document.getElementById("live").textContent === "live"`);
        if (path === "/") {
          await sees(
            page,
            `document.querySelector('[data-chart="refusals"] .u-legend')?.textContent.includes("<img src=x")`,
          );
        }
        for (const width of [1280, 400, 320]) {
          await page.setViewportSize({ width, height: 800 });
          const [inner, scrolled] = await page.evaluate<number[]>(
            "[document.documentElement.clientWidth, document.documentElement.scrollWidth]",
          );
          assert.ok((scrolled ?? 0) <= (inner ?? 0), `${path} at ${width}: ${scrolled} > ${inner}`);
        }
        const found = await page.evaluate<unknown[]>(
          `[window.hacked ?? null, document.querySelectorAll("img, main b, main script, [onerror]").length,
            document.body.textContent.includes("<img src=x")]`,
        );
        assert.deepEqual(found, [null, 0, true], path);
      }
      assert.deepEqual(complaints, []);
      await page.context().close();
    });

    await t.step("logging in and out", async () => {
      const { page } = await browser.open();
      await page.goto(`${url}/plugins`);
      assert.equal(new URL(page.url()).pathname, "/login");
      await page.fill("#token", "a guess");
      await page.click("button");
      assert.match(await page.textContent("#fault") ?? "", /not the admin token/);
      await logIn(page, url, "/plugins");
      assert.equal(new URL(page.url()).pathname, "/plugins");
      const [cookie] = await page.context().cookies();
      assert.deepEqual([cookie?.httpOnly, cookie?.sameSite, cookie?.path], [true, "Strict", "/"]);
      assert.equal(await page.evaluate("document.cookie"), "");
      await page.click("text=Log out");
      await page.goto(url);
      assert.equal(new URL(page.url()).pathname, "/login");
      await page.context().close();
    });

    await t.step("without script: logging in, filtering, and a form that is answered", async () => {
      const { page } = await browser.open({ javaScriptEnabled: false });
      await logIn(page, url, "/tunnels");
      await page.fill("#filter", "alice");
      await page.click("text=Show");
      assert.equal(new URL(page.url()).search, "?filter=alice");
      await page.click("main >> text=Disconnect");
      await page.waitForSelector("text=There is no such tunnel any more");
      assert.equal(new URL(page.url()).search, "?filter=alice&notice=tunnel-gone");
      await page.context().close();
    });

    await t.step("dark and light, as the system is, and the keyboard reaches the content first", async () => {
      const background = "getComputedStyle(document.body).backgroundColor";
      const seen = new Set<unknown>();
      for (const colorScheme of ["dark", "light"] as const) {
        const { page } = await browser.open({ colorScheme });
        await logIn(page, url, "/connections");
        seen.add(await page.evaluate(background));
        await page.keyboard.press("Tab");
        await page.keyboard.press("Enter");
        assert.equal(await page.evaluate("document.activeElement.id"), "main");
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate("document.activeElement.id"), "filter");
        await page.context().close();
      }
      assert.equal(seen.size, 2);
    });

    await t.step("a page of another origin can neither press a button nor read", async () => {
      const closed: string[] = [];
      await using victim = await openAdmin({
        closeTunnel: (id) => Promise.resolve(closed.push(id) > 0),
        live: () => Promise.resolve(LIVE),
      });
      const body = `<form method="post" action="${
        urlOf(victim)
      }/tunnels/close"><input name="id" value="t1"></form>`;
      await using server = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen() {} },
        () => new Response(body, { headers: { "content-type": "text/html" } }),
      );
      const { page } = await browser.open();
      await page.goto(`http://127.0.0.1:${server.addr.port}/`);
      const answered = page.waitForResponse((response) => response.url().endsWith("/tunnels/close"));
      await page.evaluate("document.forms[0].submit()");
      assert.equal((await answered).status(), 403);
      assert.deepEqual(closed, []);
      await page.context().close();
    });
  },
});
