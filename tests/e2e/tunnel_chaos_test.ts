/** Thousands of requests while agents are killed and started again: some fail, none is wrong, none is anybody else's. */
import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { type ClientResponse, ConnectionEnded, HttpClient } from "../support/http_client.ts";
import { type AgentProcess, DOMAIN, http, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { isHangUp } from "../support/wire.ts";
import { can } from "./can.ts";

const REQUESTS = 10_000;
/** An agent is killed, or taken over from, whenever so many more are answered. */
const BETWEEN_KILLS = 1000;
const KILLS = REQUESTS / BETWEEN_KILLS - 1;
const LANES = 12;
/** For a machine that is busy with other things; it takes a fifth of that. */
const DEADLINE_MS = 120_000;
const SMALL_BYTES = 64 * 1024, LARGE_BYTES = 1 << 20;
/** One request in so many has a large body. */
const ONE_LARGE_IN = 200;
/** What a client may ask again after, when what it asked may be done twice. */
const PASSING: ReadonlySet<number> = new Set([502, 503, 504]);
const NAMES = ["one", "two"] as const;

Deno.test({
  name: "10,000 requests with random bodies, while agents are killed and take over from each other",
  ignore: !can(),
  async fn(t) {
    const service = new MirrorService();
    await using _ = service;
    await using tunnels = await Tunnels.start({ threads: 2 });
    const agents = new RestlessAgents(tunnels, service.target);
    const traffic = new Traffic(tunnels);
    await agents.start();
    await Promise.all([traffic.run(), agents.killBehind(traffic)]);

    await t.step(`${REQUESTS} answers, each its own request's; retries are counted`, () => {
      assert.equal(traffic.failure, undefined, `${traffic.failure}\n${JSON.stringify(faultsOf(tunnels))}`);
      assert.ok(traffic.answered >= REQUESTS, `${traffic.answered} answers`);
      assert.equal(agents.kills, KILLS);
      const retries = [...traffic.retries.values()].reduce((sum, n) => sum + n, 0);
      assert.ok(retries < REQUESTS / 20, JSON.stringify([...traffic.retries]));
    });
    await t.step("what may not be done twice was never done twice", () => {
      const twice = [...service.posts].filter(([, times]) => times > 1);
      assert.deepEqual(twice, []);
      assert.ok(service.posts.size > REQUESTS / 4);
    });
    await t.step("nothing is left behind", async () => {
      traffic.close();
      await agents.stop();
      await tunnels.settled(0);
    });
  },
});

/** Answers every request with its own body and id. */
class MirrorService implements AsyncDisposable {
  /** How often each POST came. */
  readonly posts = new Map<string, number>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const id = request.headers.get("x-id") ?? "";
      const host = request.headers.get("host") ?? "";
      if (request.method === "POST") this.posts.set(id, (this.posts.get(id) ?? 0) + 1);
      try {
        return new Response(await request.arrayBuffer(), { headers: { "x-id": id, "x-host": host } });
      } catch {
        return new Response("the body broke off", { status: 400 }); // its agent was killed, and nobody hears this
      }
    });
  }

  get target(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server.shutdown();
  }
}

/** Two agent processes that are the same agent, and never live for long. */
class RestlessAgents {
  kills = 0;
  #current: AgentProcess | undefined;
  readonly #tunnels: Tunnels;
  readonly #target: string;

  constructor(tunnels: Tunnels, target: string) {
    this.#tunnels = tunnels;
    this.#target = target;
  }

  async start(): Promise<void> {
    this.#current = await this.#launch();
  }

  /** By turns: the next one takes over from a living one, or comes after it was killed; and a connection is cut. */
  async killBehind(traffic: Traffic): Promise<void> {
    while (this.kills < KILLS) {
      await until(() => traffic.done || traffic.answered >= (this.kills + 1) * BETWEEN_KILLS, {
        what: "more answers",
        deadlineMs: DEADLINE_MS,
      });
      if (traffic.done) return;
      const before = this.#current;
      if (this.kills % 2 === 0) await before?.kill();
      this.#current = await this.#launch();
      this.kills++;
      if (this.kills % 2 === 0) {
        const { code } = await before?.program.status ?? assert.fail();
        assert.equal(code, 3, "who was taken over from leaves for good");
      }
      await this.#cutOne();
    }
  }

  async stop(): Promise<void> {
    await this.#current?.kill();
  }

  #launch(): Promise<AgentProcess> {
    const services = NAMES.map((name) => http(name, this.#target));
    return this.#tunnels.agentProcess(services, { connections: 2, name: "restless" });
  }

  async #cutOne(): Promise<void> {
    const [row] = await this.#tunnels.rows();
    if (row === undefined) return;
    const url = `${this.#tunnels.gateway.adminUrl}/api/v1/tunnels/${row.id}`;
    await (await fetch(url, { method: "DELETE" })).body?.cancel();
  }
}

/** Clients that ask until there are enough answers. */
class Traffic {
  answered = 0;
  done = false;
  /** What must never happen. */
  failure: unknown;
  /** Why something was asked again, and how often. */
  readonly retries = new Map<string, number>();
  readonly #tunnels: Tunnels;
  readonly #random = randomBytes(2 * LARGE_BYTES);
  readonly #clients = new Map<number, HttpClient>();
  readonly #end = performance.now() + DEADLINE_MS;

  constructor(tunnels: Tunnels) {
    this.#tunnels = tunnels;
  }

  async run(): Promise<void> {
    const lanes = Array.from({ length: LANES }, async (_, lane) => {
      for (let n = 0; this.failure === undefined && this.answered < REQUESTS; n++) {
        await this.#ask(lane, n).catch((error) => this.failure ??= error);
      }
    });
    await Promise.all(lanes);
    this.done = true;
  }

  close(): void {
    for (const client of this.#clients.values()) client[Symbol.dispose]();
  }

  async #ask(lane: number, n: number): Promise<void> {
    const size = randomInt(ONE_LARGE_IN) === 0 ? LARGE_BYTES : randomInt(SMALL_BYTES + 1);
    const start = randomInt(LARGE_BYTES);
    const body = this.#random.subarray(start, start + size);
    const method = n % 2 === 0 ? "PUT" : "POST";
    for (let attempt = 0;; attempt++) {
      const id = `${lane}-${n}-${attempt}`;
      const response = await this.#attempt(lane, { method, headers: { "X-Id": id }, body });
      if (typeof response !== "string") {
        check(response, id, body, nameOf(lane));
        this.answered++;
        return;
      }
      this.retries.set(response, (this.retries.get(response) ?? 0) + 1);
      if (performance.now() > this.#end) throw new Error(`No end to ${[...this.retries]}`);
    }
  }

  /** @returns The answer, or why it is to be asked again. */
  async #attempt(
    lane: number,
    request: Parameters<HttpClient["request"]>[0],
  ): Promise<ClientResponse | string> {
    const client = this.#clients.get(lane) ?? await this.#connect(lane);
    try {
      const response = await client.request(request);
      // Of its own errors the gateway says whether it goes on; this client does not.
      if (PASSING.has(response.status)) this.#drop(lane);
      return PASSING.has(response.status) ? String(response.status) : response;
    } catch (error) {
      this.#drop(lane);
      if (error instanceof ConnectionEnded || isHangUp(error) || error instanceof Deno.errors.UnexpectedEof) {
        return "connection";
      }
      throw error;
    }
  }

  async #connect(lane: number): Promise<HttpClient> {
    const name = nameOf(lane);
    const client = new HttpClient(await this.#tunnels.connectTls(name), `${name}.${DOMAIN}`);
    this.#clients.set(lane, client);
    return client;
  }

  #drop(lane: number): void {
    this.#clients.get(lane)?.[Symbol.dispose]();
    this.#clients.delete(lane);
  }
}

/** Why requests failed, by the gateway's log, and how many. */
function faultsOf({ gateway }: Tunnels): Record<string, number> {
  const failed = gateway.events.filter(({ event, status }) => event === "http_request" && status !== 200);
  const groups = Object.groupBy(failed, ({ status, fault }) => `${status} ${fault}`);
  return Object.fromEntries(Object.entries(groups).map(([key, all = []]) => [key, all.length]));
}

function nameOf(lane: number): string {
  return NAMES[lane % NAMES.length] ?? "";
}

function check({ status, headers, body }: ClientResponse, id: string, sent: Uint8Array, name: string): void {
  assert.equal(status, 200);
  assert.deepEqual([headers.get("x-id"), headers.get("x-host")], [id, `${name}.${DOMAIN}`]);
  assert.equal(body.length, sent.length);
  assert.equal(sha256(body), sha256(sent), `the body of ${id}`);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
