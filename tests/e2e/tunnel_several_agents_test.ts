/** Several agents of one token under one name, on one data plane and on two; and what a token may use. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import type { RegisterService } from "../../plugins/ws-agent/control/messages.ts";
import { serveTcp, startEcho } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { respond, TestAgent } from "../support/test_agent.ts";
import { DOMAIN, ENDPOINT, http, tcp, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ignore = !can();
const HOST = `web.${DOMAIN}`;
const WEB: RegisterService = { name: "web", protocol: "http", shared: true };
const SHARING = { alice: { allow: { subdomains: ["*"], ports: "1-65535", share: true } } };

/** The data planes that agents have come to, in order. */
function planesOfTunnels({ gateway }: Tunnels): unknown[] {
  return gateway.events.filter(({ event, sni }) => event === "connection_opened" && sni === ENDPOINT)
    .map(({ from }) => from);
}

/** An agent that answers by `letter`, and that can be killed; on another data plane than those in `not`. */
async function startAgent(
  stack: AsyncDisposableStack,
  tunnels: Tunnels,
  letter: string,
  not: readonly unknown[] = [],
): Promise<TestAgent> {
  for (let tries = 0; tries < 40; tries++) {
    const before = planesOfTunnels(tunnels).length;
    const agent = await TestAgent.start(await tunnels.connectTls("tunnel"), {
      token: tunnels.tokens.alice,
      client: letter.charCodeAt(0),
      host: ENDPOINT,
      serve: respond(letter),
    });
    const plane = await until(() => planesOfTunnels(tunnels)[before], { what: "the agent's connection" });
    if (!not.includes(plane)) {
      stack.use(agent);
      await agent.serve(WEB);
      return agent;
    }
    await agent[Symbol.asyncDispose]();
  }
  assert.fail("Every connection lands on the same data plane");
}

/** A port of those for tunnels that nobody has at the moment. */
function freeTunnelPort(): number {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

for (const threads of [1, 2]) {
  Deno.test({
    name:
      `--threads ${threads}: of two agents under one name, one dies under load, and no request after that fails`,
    ignore,
    async fn() {
      await using stack = new AsyncDisposableStack();
      const tunnels = stack.use(await Tunnels.start({ threads, tokens: SHARING }));
      await startAgent(stack, tunnels, "a");
      const b = await startAgent(
        stack,
        tunnels,
        "b",
        threads === 2 ? planesOfTunnels(tunnels).slice(0, 1) : [],
      );

      const counts = { a: 0, b: 0 };
      /** Requests that were under way when the agent died. */
      let lost = 0;
      let hasEnded = false, done = false;
      /** Each connection is for four requests. */
      const client = async () => {
        while (!done) {
          using client = new HttpClient(await tunnels.connectTls("web"), HOST);
          for (let i = 0; i < 4; i++) {
            const isLate = hasEnded;
            const { status, text } = await client.request();
            if (status === 200) counts[text as "a" | "b"]++;
            else if (isLate) assert.fail(`A request that came later: ${text}`);
            else lost++;
          }
        }
      };
      const load = Promise.all(Array.from({ length: 4 }, client));
      load.catch(() => {});
      await until(() => counts.a + counts.b >= 160, { what: () => JSON.stringify(counts) });
      assert.ok(Math.abs(counts.a - counts.b) <= 0.3 * (counts.a + counts.b), JSON.stringify(counts));

      b.kill();
      await until(async () => (await tunnels.rows()).length === 1, { what: "the end of its tunnel" });
      await until(() => tunnels.gateway.events.some(({ event }) => event === "tunnel_closed"), {
        what: "its log",
      });
      hasEnded = true;
      const { a, b: last } = { ...counts };
      await until(() => counts.a >= a + 80, { what: () => JSON.stringify(counts) });
      done = true;
      await load;
      // On another data plane it may seem to live for a moment longer, also to a request that is sent again.
      assert.ok(lost <= (threads === 1 ? 0 : 4), `${lost} lost`);
      // Each of the four connections may have had an answer on its way.
      assert.ok(counts.b <= last + 4, `${last} before, ${counts.b} at the end`);
    },
  });
}

Deno.test({
  name: "agents as users start them share a name and a port, by agent.yaml; one without share is refused",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const tunnels = stack.use(await Tunnels.start({ tokens: SHARING }));
    const port = freeTunnelPort();
    const start = async (letter: string) => {
      const web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response(letter));
      stack.defer(() => web.shutdown());
      const says = stack.use(serveTcp((conn) => writeAll(conn, new TextEncoder().encode(letter))));
      return await tunnels.agent([
        { ...http("web", `127.0.0.1:${web.addr.port}`), share: true, balance: "round-robin" },
        tcp("says", says.target, { remotePort: port, share: true }),
      ], { name: letter, connections: 2 });
    };
    const [a] = [await start("a"), await start("b")];
    const counts: Record<string, number> = {};
    for (let i = 0; i < 8; i++) {
      using client = new HttpClient(await tunnels.connectTls("web"), HOST);
      using stream = await tunnels.connect(port);
      const letter = new Uint8Array(1);
      await stream.read(letter);
      for (const seen of [(await client.request()).text, `tcp ${String.fromCharCode(letter[0] ?? 0)}`]) {
        counts[seen] = (counts[seen] ?? 0) + 1;
      }
    }
    assert.deepEqual(counts, { a: 4, b: 4, "tcp a": 4, "tcp b": 4 });
    const other = stack.use(
      await TestAgent.start(await tunnels.connectTls("tunnel"), {
        token: tunnels.tokens.alice,
        client: 9,
        host: ENDPOINT,
      }),
    );
    const refused = await other.register({ name: "web", protocol: "http" });
    assert.ok(
      refused.type === "registerFail" && refused.reason.startsWith("held: "),
      JSON.stringify(refused),
    );
    await a?.[Symbol.asyncDispose]();
    for (let i = 0; i < 4; i++) {
      using client = new HttpClient(await tunnels.connectTls("web"), HOST);
      assert.equal((await client.request()).text, "b");
    }
  },
});

Deno.test({
  name: "what goes through the tunnels of a token with a bandwidth arrives whole, both ways",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const tunnels = stack.use(await Tunnels.start({ tokens: { alice: { limits: { bandwidth: "4MiB" } } } }));
    const echo = stack.use(startEcho());
    const agent = await tunnels.agent([tcp("echo", echo.target)]);
    using stream = await tunnels.connect(agent.port("echo"));
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    const back: number[] = [];
    const sending = (async () => {
      for (let i = 0; i < 16; i++) await writeAll(stream, bytes);
      await stream.closeWrite();
    })();
    const buffer = new Uint8Array(64 * 1024);
    let at = 0;
    for (let n; (n = await stream.read(buffer)) !== null;) {
      for (let i = 0; i < n; i++, at++) if (buffer[i] !== bytes[at % bytes.length]) back.push(at);
    }
    await sending;
    assert.deepEqual([at, back.length], [16 * bytes.length, 0]);
  },
});
