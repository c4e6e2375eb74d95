import { parseArgs } from "node:util";
import type { AgentSettings } from "../../plugins/ws-agent/agent/mod.ts";
import { createToken, createTokenId, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { type Address, freeAddress, hostPort, temporaryFolder } from "../support/processes.ts";
import { type Bench, describeMachine, positive } from "./bench.ts";
import { threadSeconds } from "./cpu.ts";
import { Helper, LoadGenerator, startBackends } from "./helper.ts";
import type { BackendPorts, Target } from "./jobs.ts";
import { posternConfig, serverNameOf, startPostern } from "./peers.ts";
import { median } from "./statistics.ts";
import type { AgentsJob } from "./tunnel_postern.ts";

/**
 * For a page, and for `/metrics`, in milliseconds. What the data plane gives for the dashboard is judged by the time of
 * its thread, which is what its throughput is made of: pairs of throughput figures differ by more than 2 % by themselves.
 */
const PAGE_GOAL_MS = 100;
const METRICS_GOAL_MS = 50;
const COST_GOAL = 0.02;

const PAGES = [
  "/",
  "/tunnels",
  "/tunnels?filter=spare-999",
  "/connections",
  "/connections?filter=nothing",
  "/events",
];
const OTHERS = ["/plugins", "/certificates", "/metrics", "/api/v1/status"];
const REQUESTS = 20;
const DOMAIN = "bench.localhost";
const AGENTS = new URL("./tunnel_agents.ts", import.meta.url).pathname;
const AGENTS_DEADLINE_MS = 300_000;
const REST_MS = 20_000;
/** As often as the script of a page looks at the tables when nothing changes. */
const LOOK_MS = 5000;

/** How fast the dashboard is when there is much to show, and what the data plane pays for somebody who looks at it. */
export const dashboard: Bench = {
  name: "dashboard",
  usage: "dashboard [--tunnels 1000] [--connections 5000] [--seconds 3] [--rounds 5]",
  async run(args, say) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        tunnels: { type: "string", default: "1000" },
        connections: { type: "string", default: "5000" },
        seconds: { type: "string", default: "3" },
        rounds: { type: "string", default: "5" },
      },
    });
    const [tunnels, connections] = [positive(values.tunnels), positive(values.connections)];
    const [seconds, rounds] = [positive(values.seconds), positive(values.rounds)];
    await using stack = new AsyncDisposableStack();
    const backends = stack.use(await startBackends(["postern"]));
    const load = stack.use(new LoadGenerator());
    const place = await startGateway(stack, backends.portsOf("postern"));
    await startAgents(stack, place, tunnels);
    say(`${tunnels} agents are connected`);
    const [echo, sink]: Target[] = (["echo", "sink"] as const).map((mode) => ({
      address: place.address,
      serverName: serverNameOf(mode),
    }));
    if (!echo || !sink) throw new TypeError("There are two targets");
    const crowd = { ...echo, address: { ...place.address, hostname: "127.0.0.2" } };
    await load.run({ kind: "hold", to: crowd, connections, how: "relayed" });
    say(`${connections} connections are open`);

    const times: Record<string, { p50: number; max: number; bytes: number }> = {};
    for (const path of [...PAGES, ...OTHERS]) {
      times[path] = await timePage(`${place.admin}${path}`);
      say(`${path}: ${format(times[path])}`);
    }

    const shares: number[] = [];
    const rates: { alone: number; watched: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      const measure = async () =>
        (await load.run({ kind: "up", to: sink, connections: 8, seconds })).bytesPerSecond;
      const watchedRun = async () => {
        await using _viewer = await openViewer(place.admin);
        return await measure();
      };
      // In turn, so that whatever else the machine does falls on both.
      const first = round % 2 === 0 ? await measure() : undefined;
      const watched = await watchedRun();
      const alone = first ?? await measure();
      rates.push({ alone, watched });
      shares.push(1 - watched / alone);
      say(`round ${round + 1}: ${mib(alone)} alone, ${mib(watched)} watched`);
    }
    const plane = await busiestThread(
      place.pid,
      () => load.run({ kind: "up", to: sink, connections: 8, seconds }),
    );
    const idle = await cpuShare(place.pid, plane);
    const viewed = await (async () => {
      await using _viewer = await openViewer(place.admin);
      return await cpuShare(place.pid, plane);
    })();
    const cost = viewed - idle;
    const page = Math.max(
      ...Object.entries(times).filter(([path]) => path !== "/metrics").map(([, { p50 }]) => p50),
    );
    const verdict = (met: boolean, goal: string) => `${met ? "reached" : "MISSED"}: ${goal}`;
    return {
      text: [
        `${tunnels} tunnels, ${connections} connections; milliseconds until the last byte, ${REQUESTS} requests one by one`,
        ...Object.entries(times).map(([path, time]) => `${path.padEnd(30)} ${format(time)}`),
        `slowest page, p50: ${page.toFixed(1)} ms (${verdict(page < PAGE_GOAL_MS, `under ${PAGE_GOAL_MS}`)})`,
        `/metrics, p50: ${times["/metrics"]?.p50.toFixed(1)} ms (${
          verdict((times["/metrics"]?.p50 ?? NaN) < METRICS_GOAL_MS, `under ${METRICS_GOAL_MS}`)
        })`,
        `thread of the data plane at rest: ${percent(idle)} of a core alone, ${percent(viewed)} watched: ${
          percent(cost)
        } (${verdict(cost < COST_GOAL, `under ${percent(COST_GOAL)}`)})`,
        `throughput less while watched: ${percent(median(shares))}, median of ${rounds} pairs from ${
          percent(Math.min(...shares))
        } to ${percent(Math.max(...shares))}`,
      ].join("\n"),
      json: {
        machine: await describeMachine(),
        tunnels,
        connections,
        times,
        rates,
        shares,
        cost,
        idle,
        viewed,
      },
    };
  },
};

interface Place {
  readonly address: Address;
  readonly agents: Address;
  readonly admin: string;
  readonly pid: number;
  readonly token: string;
}

async function startGateway(stack: AsyncDisposableStack, ports: BackendPorts): Promise<Place> {
  const folder = stack.use(await temporaryFolder()).path;
  const token = createToken();
  const entry = { id: createTokenId(), sha256: digestOf(token).toHex(), created: "2026-01-01" };
  await Deno.writeTextFile(`${folder}/tokens.yaml`, JSON.stringify([entry])); // JSON is YAML
  const [address, agents, admin] = [freeAddress(), freeAddress(), freeAddress()];
  const routes = (["echo", "sink"] as const).map((mode) => ({
    sni: serverNameOf(mode),
    to: `127.0.0.1:${ports[mode]}`,
  }));
  const plugins = {
    static: { routes },
    "ws-agent": {
      domain: DOMAIN,
      endpoint: `tunnel.${DOMAIN}`,
      tokens: `${folder}/tokens.yaml`,
      limits: { tunnels: 20_000 },
      plainHttp: true,
      plainEndpoint: true,
    },
  };
  const config = posternConfig(address, plugins, {
    listeners: [
      { address: hostPort(address) },
      { address: hostPort({ ...address, hostname: "127.0.0.2" }) },
      { address: hostPort(agents), kind: "http" },
    ],
    admin: { address: hostPort(admin) },
  });
  const { pid } = await startPostern(stack, config, address, 1);
  return { address, agents, admin: `http://${hostPort(admin)}`, pid, token };
}

/** In one process, without TLS: what they cost themselves is not of interest here. */
async function startAgents(
  stack: AsyncDisposableStack,
  { agents, token }: Place,
  copies: number,
): Promise<void> {
  const settings: AgentSettings = {
    gateway: { secure: false, host: `tunnel.${DOMAIN}`, port: agents.port, path: "/tunnel/v1" },
    name: "spare",
    credentials: { token },
    tls: { insecure: false },
    connections: 1,
    reconnect: { minMs: 500, maxMs: 5000 },
    services: [{
      name: "spare",
      protocol: "http",
      target: { host: "127.0.0.1", port: 9, tls: false },
      proxyProtocol: "off",
    }],
  };
  const job: AgentsJob = { settings, copies };
  const helper = stack.use(
    new Helper(Deno.execPath(), ["run", "--no-prompt", "-A", AGENTS, JSON.stringify(job)]),
  );
  await helper.receive(AGENTS_DEADLINE_MS);
}

async function timePage(url: string): Promise<{ p50: number; max: number; bytes: number }> {
  const times: number[] = [];
  let bytes = 0;
  for (let i = 0; i < REQUESTS; i++) {
    const start = performance.now();
    const response = await fetch(url, { headers: { accept: url.includes("/api/") ? "*/*" : "text/html" } });
    bytes = (await response.arrayBuffer()).byteLength;
    times.push(performance.now() - start);
    if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  }
  return { p50: median(times), max: Math.max(...times), bytes };
}

/** What a tab with the tunnels does: it listens, and looks at the table again and again. */
async function openViewer(admin: string): Promise<AsyncDisposable> {
  const leave = new AbortController();
  const { signal } = leave;
  const stream = await fetch(`${admin}/api/v1/events`, { signal });
  const reading = (async () => {
    for await (const _part of stream.body ?? []);
  })().catch(() => {});
  const look = async () => {
    const response = await fetch(`${admin}/tunnels`, { signal, headers: { accept: "text/html" } });
    await response.arrayBuffer();
  };
  const timer = setInterval(() => void look().catch(() => {}), LOOK_MS);
  await look();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      leave.abort();
      await reading;
    },
  };
}

/** The thread that does most of some work: while bytes are relayed, that of the data plane. */
async function busiestThread(pid: number, work: () => Promise<unknown>): Promise<string> {
  const before = await threadSeconds(pid);
  await work();
  const taken = Array.from(
    await threadSeconds(pid),
    ([id, now]) => ({ id, seconds: now - (before.get(id) ?? 0) }),
  );
  return taken.toSorted((a, b) => b.seconds - a.seconds)[0]?.id ?? "";
}

/** How much of one core a thread takes. The clock of the kernel is coarse, so this takes a while. */
async function cpuShare(pid: number, thread: string): Promise<number> {
  const taken = async () => (await threadSeconds(pid)).get(thread) ?? NaN;
  const before = await taken();
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  return (await taken() - before) / (REST_MS / 1000);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function format({ p50, max, bytes }: { p50: number; max: number; bytes: number }): string {
  return `p50 ${p50.toFixed(1).padStart(6)}  max ${max.toFixed(1).padStart(6)}  ${
    (bytes / 1024).toFixed(0)
  } KiB`;
}

function mib(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 1024 ** 2).toFixed(0)} MiB/s`;
}
