/** The inspector's page in a real browser: it stays up to date by itself, and nothing that strangers send runs in it. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { IN_PROCESS } from "../../plugins/ws-agent/agent/target.ts";
import { startInspector } from "../../plugins/ws-agent/inspect/inspector.ts";
import { findProgram } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";
import { pipe } from "../support/pipe.ts";
import { can } from "./can.ts";

const encode = (text: string) => new TextEncoder().encode(text);

const EVIL = `"'><script>window.ran=1</script><img src=x onerror=window.ran=1>`;
const ANSWER = `HTTP/1.1 200 ${EVIL}\r\nX-Evil: ${EVIL}\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`;

async function withPage(use: (page: Page) => Promise<void>): Promise<void> {
  await using home = await temporaryFolder();
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath: findProgram("chromium") ?? "",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    env: { HOME: home.path, PATH: Deno.env.get("PATH") ?? "", LANG: "C" },
  });
  try {
    await use(await browser.newPage());
  } finally {
    await browser.close();
  }
}

Deno.test({
  name:
    "Chromium shows requests as they come, replays one, is led by keys, and runs nothing of what strangers send",
  ignore: !can("chromium"),
  async fn() {
    const dialed: Promise<void>[] = [];
    const inspector = startInspector({ hostname: "127.0.0.1", ports: [0] }, () => {
      const [near, far] = pipe();
      dialed.push((async () => {
        await far.read(new Uint8Array(4096));
        await far.write(encode(ANSWER));
      })());
      return Promise.resolve(near);
    });
    const service = { name: "demo", protocol: "http", target: IN_PROCESS, proxyProtocol: "off" } as const;
    const passBy = (path: string) => {
      const tap = inspector.inspect(service, {
        source: { address: "203.0.113.9", port: 4711 },
        destination: { address: "198.51.100.1", port: 443 },
        connectionId: "c-1",
        serviceId: "00000000-0000-4000-8000-000000000001",
      });
      tap.request(encode(`GET ${path} HTTP/1.1\r\nHost: a\r\nX-Evil: ${EVIL}\r\n\r\n`));
      tap.response(encode(ANSWER));
    };
    try {
      await withPage(async (page) => {
        const problems: string[] = [];
        page.on("console", (message) => void problems.push(message.text()));
        page.on("pageerror", (error) => void problems.push(error.message));
        await page.goto(`http://127.0.0.1:${inspector.address.port}/`);
        assert.equal(await page.textContent("#summary"), "No requests yet");
        for (const path of ["/1", "/2?a='onx='"]) passBy(path);
        await page.waitForSelector("#row-2");
        assert.equal(await page.textContent("#list a .target"), "/2?a='onx='");

        for (const key of ["j", "j", "Enter"]) await page.keyboard.press(key);
        await page.waitForURL("**/exchanges/1");
        assert.equal(await page.textContent("section:last-of-type td"), EVIL);
        assert.equal(await page.textContent("section:last-of-type pre"), EVIL);
        await page.setViewportSize({ width: 360, height: 640 });
        assert.equal(await page.isVisible("#list"), false, "a phone shows one request at a time");
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 360);
        await page.click("#replay");
        await page.waitForURL("**/exchanges/3");
        assert.match(await page.textContent("dl") ?? "", /Replay ofrequest 1/);
        passBy("/4");
        await page.waitForSelector("#summary:text-is('4 requests')");

        assert.equal(await page.evaluate("window.ran"), undefined);
        assert.deepEqual(problems.filter((text) => !/favicon/.test(text)), []);
      });
    } finally {
      await inspector.close();
      await Promise.all(dialed);
    }
  },
});
