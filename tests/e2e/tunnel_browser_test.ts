/** A browser that has imported the development CA, on a page behind a tunnel. Nothing is ignored or switched off for it. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { findProgram } from "../support/permissions.ts";
import { runOrThrow } from "../support/processes.ts";
import { can } from "./can.ts";
import { FreshFolder, publicAddress } from "./first_minute.ts";

const ignore = !can("chromium", "certutil");

const PAGE = `<!doctype html><html lang="en"><title>Through a tunnel</title><h1 id="hello">hello</h1>`;

/** What web applications use: a page, a body that is posted, events, and a WebSocket. */
function startService(): AsyncDisposable & { readonly port: number } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    switch (new URL(request.url).pathname) {
      case "/":
        return new Response(PAGE, { headers: { "content-type": "text/html" } });
      case "/digest":
        return new Response(await sha256(new Uint8Array(await request.arrayBuffer())));
      case "/events":
        return new Response(threeEvents(), { headers: { "content-type": "text/event-stream" } });
      case "/echo": {
        const { socket, response } = Deno.upgradeWebSocket(request);
        socket.binaryType = "arraybuffer";
        socket.onmessage = ({ data }) => socket.send(data);
        return response;
      }
      default:
        return new Response("Not Found", { status: 404 });
    }
  });
  return { port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** One after the other: each is sent when the one before is on its way. It ends when the client leaves. */
function threeEvents(): ReadableStream<Uint8Array> {
  let next = 1;
  return new ReadableStream({
    pull(controller) {
      if (next <= 3) controller.enqueue(new TextEncoder().encode(`id: ${next}\ndata: event ${next++}\n\n`));
      else return new Promise(() => {});
    },
  });
}

/** A home folder in which Chromium finds the CA among those that its user trusts. */
async function trusting(home: string, ca: string): Promise<string> {
  const database = `${home}/.pki/nssdb`;
  await Deno.mkdir(database, { recursive: true });
  const d = `sql:${database}`;
  await runOrThrow("certutil", { args: ["-N", "-d", d, "--empty-password"] });
  await runOrThrow("certutil", { args: ["-A", "-d", d, "-t", "C,,", "-n", "Postern", "-i", ca] });
  return home;
}

async function withPage(home: string, use: (page: Page) => Promise<void>): Promise<void> {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath: findProgram("chromium") ?? "",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    env: { HOME: home, PATH: Deno.env.get("PATH") ?? "", LANG: "C" },
  });
  try {
    await use(await browser.newPage());
  } finally {
    await browser.close();
  }
}

Deno.test({
  name: "Chromium, which trusts the development CA: page, POST, EventSource and WebSocket through a tunnel",
  ignore,
  async fn() {
    await using service = startService();
    await using folder = await FreshFolder.make();
    await folder.startGateway();
    const command = await folder.start("http", String(service.port), "--name", "demo");
    const url = await publicAddress(command);
    const home = await trusting(`${folder.path}/home`, `${folder.path}/.postern/ca.pem`);
    await withPage(home, async (page) => {
      const response = await page.goto(url);
      assert.equal(response?.status(), 200);
      assert.equal(await page.title(), "Through a tunnel");
      const security = await response?.securityDetails();
      assert.match(security?.issuer ?? "", /Postern/);
      assert.equal(
        await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol"),
        "h2",
      );

      const body = crypto.getRandomValues(new Uint8Array(60_000));
      const posted = await page.evaluate(
        `fetch("/digest", { method: "POST", body: Uint8Array.fromHex("${body.toHex()}") }).then((r) => r.text())`,
      );
      assert.equal(posted, await sha256(body));

      assert.deepEqual(
        await page.evaluate(`new Promise((resolve, reject) => {
          const seen = [], events = new EventSource("/events");
          events.onerror = () => reject(new Error("The stream of events broke"));
          events.onmessage = ({ data, lastEventId }) => {
            if (seen.push(lastEventId + " " + data) < 3) return;
            events.close();
            resolve(seen);
          };
        })`),
        ["1 event 1", "2 event 2", "3 event 3"],
      );

      assert.deepEqual(
        await page.evaluate(`new Promise((resolve, reject) => {
          const seen = [], socket = new WebSocket("wss://" + location.host + "/echo");
          socket.binaryType = "arraybuffer";
          socket.onerror = () => reject(new Error("The WebSocket broke"));
          socket.onopen = () => { socket.send("text"); socket.send(new Uint8Array(100_000)); };
          socket.onmessage = ({ data }) => {
            seen.push(typeof data === "string" ? data : data.byteLength);
            if (seen.length === 2) socket.close(1000);
          };
          socket.onclose = ({ code }) => resolve([...seen, code]);
        })`),
        ["text", 100_000, 1000],
      );

      command.kill("SIGINT");
      await command.status;
      const gone = await page.reload();
      assert.equal(gone?.status(), 404);
      assert.equal(await page.textContent("h1"), "404 Not Found");
    });
  },
});
