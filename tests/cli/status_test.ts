import assert from "node:assert/strict";
import { CommandError } from "../../cli/command_error.ts";
import { renderStatus, statusCommand, type StatusSeams } from "../../cli/commands/status.ts";
import { formatBytes, formatDuration } from "../../cli/render_status.ts";
import { startAdmin } from "../../core/admin/server.ts";
import type { AdminSettings } from "../../core/admin/contract.ts";
import type { AdminMethods, GatewayStatus, GatewayTunnel } from "../../core/data_plane/snapshot.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { fakeGateway, STATUS } from "../core/admin/harness.ts";

const DAY_LATER = STATUS.startedAt + 86_400_000 + 3_600_000;

const TUNNEL: GatewayTunnel = {
  id: "t1",
  plugin: "ws-agent",
  owner: "laptops",
  source: { address: "192.0.2.1", port: 4711 },
  since: DAY_LATER - 3_600_000,
  streams: 3,
  bytesIn: 1024,
  bytesOut: 2048,
  services: [
    { id: "1", name: "app", protocol: "http", url: "https://app.example.com", target: "127.0.0.1:8080" },
    { id: "2", name: "ssh", protocol: "tcp", url: "tcp://example.com:30001" },
  ],
};

Deno.test("renderStatus() shows the gateway as tables", () => {
  const isolated = {
    name: "mtls-postgres",
    isolation: "worker",
    module: "./m.ts",
    permissions: { net: ["127.0.0.1:5432"] },
    state: "up",
    restarts: 12,
    status: { ready: false, reason: "database not reachable" },
  } as const;
  const status: GatewayStatus = {
    ...STATUS,
    listeners: [...STATUS.listeners, { address: "0.0.0.0:80", kind: "http" }],
    rejected: { unknown_name: 3, preface_timeout: 40, over_limit: 0 },
    plugins: [...STATUS.plugins, isolated],
    certificates: [
      {
        names: ["a.example.com", "b.example.com", "c.example.com", "d.example.com"],
        source: "files",
        notAfter: new Date(DAY_LATER + 90 * 86_400_000).toISOString(),
        state: "valid",
      },
      {
        names: ["*.example.org"],
        source: "acme",
        notAfter: "",
        state: "failed",
        error: "The directory answers 429 \u001b[2J",
        nextAttempt: new Date(DAY_LATER + 3_600_000).toISOString(),
      },
    ],
  };
  assert.equal(
    renderStatus(status, DAY_LATER),
    `\
Postern 1.2.3, up 1d 1h, 1 thread, 47.7 MiB
Connections 2 open, 9 in all; 1000 B in, 2 KiB out

LISTENER        KIND
127.0.0.1:8443  stream
0.0.0.0:80      http

PLUGIN         RUNS    STATE  READY  RESTARTS
static         inline  up     yes    1
mtls-postgres  worker  up     no     12        database not reachable

CERTIFICATE                                           SOURCE  STATE   EXPIRES IN  NEXT ATTEMPT IN
a.example.com b.example.com c.example.com and 1 more  files   valid   90d 0h
*.example.org                                         acme    failed              1h 0m            The directory answers 429 \ufffd[2J

REFUSED          COUNT
preface_timeout  40
unknown_name     3
`,
  );
});

Deno.test("renderStatus() shows what a plugin lists of itself", () => {
  const processes = Array.from({ length: 42 }, (_, i) => ({
    serverName: `db-${i}.example.com`,
    references: i,
    ageSeconds: 3_700,
    ...(i === 0 && { lastFailure: "exited: \u001b[2J" }),
  }));
  const plugin = {
    name: "cloudflared",
    isolation: "worker",
    module: "./m.ts",
    permissions: {},
    state: "up",
    restarts: 0,
    status: { ready: true, details: { processes, none: [], tunnels: 42, words: ["not", "records"] } },
  } as const;
  const lines = renderStatus({ ...STATUS, plugins: [plugin] }, DAY_LATER).split("\n");
  const at = lines.indexOf("cloudflared: processes");
  assert.deepEqual(lines.slice(at, at + 3), [
    "cloudflared: processes",
    "SERVER NAME        REFERENCES  AGE    LAST FAILURE",
    "db-0.example.com   0           1h 1m  exited: \ufffd[2J",
  ]);
  assert.deepEqual(lines.slice(at + 41, at + 43), ["db-39.example.com  39          1h 1m", "and 2 more"]);
  assert.ok(!lines.some((line) => /none|words/.test(line)));
});

Deno.test("renderStatus() shows tunnels with a line for each of their services, and how many more there are", () => {
  const lonely = { ...TUNNEL, id: "t2", roundTripMs: 0.26, services: [] };
  const text = renderStatus({ ...STATUS, tunnels: { active: 43, oldest: [TUNNEL, lonely] } }, DAY_LATER);
  const at = text.indexOf("TUNNEL");
  assert.equal(
    text.slice(at, text.indexOf("\n\n", at)),
    `\
TUNNEL  OWNER    FROM            UP     RTT     STREAMS  IN     OUT    SERVICE                  TARGET
t1      laptops  192.0.2.1:4711  1h 0m          3        1 KiB  2 KiB  https://app.example.com  127.0.0.1:8080
                                                                       tcp://example.com:30001
t2      laptops  192.0.2.1:4711  1h 0m  0.3 ms  3        1 KiB  2 KiB
and 41 more`,
  );
});

Deno.test("renderStatus() says what an agent speaks when it is not Postern's own", () => {
  for (
    const [agent, shown] of [["postern", /t1 +laptops +192/], [
      "go-tunnel",
      /t1 +laptops \(go-tunnel\) +192/,
    ]] as const
  ) {
    const tunnels = { active: 1, oldest: [{ ...TUNNEL, agent }] };
    assert.match(renderStatus({ ...STATUS, tunnels }, DAY_LATER), shown);
  }
});

Deno.test("renderStatus() says when the gateway drains and when a reload was refused", () => {
  const text = renderStatus(
    { ...STATUS, draining: true, threads: 2, reloadError: "postern.yaml:3:1: no" },
    DAY_LATER,
  );
  assert.match(text, /2 threads, 47\.7 MiB, draining\n/);
  assert.match(text, /\nThe last reload was refused: postern\.yaml:3:1: no\n/);
});

Deno.test("renderStatus() prints nothing that a terminal obeys, and keeps to its lines", () => {
  const hostile = "a\x1b[2J\u009b31m\r\nb\u202ec\u2028\u0007";
  const plugin = { ...STATUS.plugins[0]!, name: hostile, status: { ready: false, reason: hostile } };
  const status = {
    ...STATUS,
    version: hostile,
    reloadError: hostile,
    listeners: [{ address: hostile, kind: "stream" as const }],
    rejected: { [hostile]: 1 },
    plugins: [plugin],
    tunnels: {
      active: 1,
      oldest: [{
        ...TUNNEL,
        id: hostile,
        owner: hostile,
        services: [{ id: "1", name: hostile, protocol: hostile, url: hostile, target: hostile }],
      }],
    },
  };
  const text = renderStatus(status, DAY_LATER);
  assert.doesNotMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Cf}\p{Zl}]/u);
  assert.equal(
    text.split("\n").length,
    renderStatus({
      ...STATUS,
      reloadError: "x",
      tunnels: { active: 1, oldest: [{ ...TUNNEL, services: [] }] },
    }, DAY_LATER)
      .split("\n").length,
  );
});

for (
  const [ms, text] of [[-5, "0s"], [999, "0s"], [61_000, "1m 1s"], [3_600_000, "1h 0m"], [
    90_000_000,
    "1d 1h",
  ]] as const
) {
  Deno.test(`formatDuration(${ms}) is ${text}`, () => assert.equal(formatDuration(ms), text));
}

for (
  const [bytes, text] of [
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [1_048_575, "1 MiB"],
    [200 * 1024 ** 2, "200 MiB"],
    [5 * 1024 ** 6, "5120 PiB"],
  ] as const
) {
  Deno.test(`formatBytes(${bytes}) is ${text}`, () => assert.equal(formatBytes(bytes), text));
}

/** A gateway's admin side, and how to call `status` against it. */
function openGateway(gateway: Partial<AdminMethods> = {}, settings: Partial<AdminSettings> = {}) {
  const server = startAdmin(
    { hostname: "127.0.0.1", port: 0, ...settings },
    fakeGateway(gateway),
    SILENT_LOG,
  );
  return {
    admin: `127.0.0.1:${server.address.port}`,
    port: server.address.port,
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

async function run(args: readonly string[], seams: StatusSeams = {}): Promise<string> {
  let written = "";
  const command = statusCommand({ env: () => undefined, write: (text) => void (written += text), ...seams });
  await command.exitOverride().parseAsync([...args], { from: "user" });
  return written;
}

function failsWith(exitCode: number, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CommandError, String(error));
    assert.equal(error.exitCode, exitCode);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  };
}

Deno.test("status prints the table of a running gateway", async () => {
  await using gateway = openGateway();
  const text = await run(["--admin", gateway.admin]);
  assert.match(text, /^Postern 1\.2\.3, up /);
  assert.match(text, /static +inline +up +yes +1\n/);
});

Deno.test("status --json prints the answer whole, with what this version does not know", async () => {
  const more = { ...STATUS, novelties: [{ name: "a\u009b31m" }] };
  await using gateway = openGateway({ status: () => Promise.resolve(more) });
  const text = await run(["--json", "--admin", `http://${gateway.admin}/`]);
  assert.deepEqual(JSON.parse(text), more);
  assert.equal(text.includes("\u009b"), false);
});

Deno.test("the address and the token come from the config, the options and the environment", async () => {
  await using gateway = openGateway({}, { token: "right" });
  const asked: (string | undefined)[] = [];
  const adminConfig = (config: string | undefined) => {
    asked.push(config);
    return Promise.resolve({ hostname: "0.0.0.0", port: gateway.port, token: "right" });
  };
  assert.match(await run(["--config", "gateway.yaml"], { adminConfig }), /^Postern/);
  assert.match(await run(["--admin", gateway.admin, "--token", "right"], { adminConfig }), /^Postern/);
  const env = (name: string) => name === "POSTERN_ADMIN_TOKEN" ? "right" : undefined;
  assert.match(await run(["--admin", gateway.admin], { adminConfig, env }), /^Postern/);
  assert.deepEqual(asked, ["gateway.yaml"]);
  await assert.rejects(
    run(["--token", "wrong"], { adminConfig, env }),
    failsWith(3, /refuses this admin token/),
  );
});

Deno.test("a missing token ends with 3 and says where to give it; no message has a token in it", async () => {
  await using gateway = openGateway({}, { token: "right" });
  const { admin } = gateway;
  await assert.rejects(run(["--admin", admin]), failsWith(3, /POSTERN_ADMIN_TOKEN/));
  await assert.rejects(run(["--admin", admin, "--token", "planted"]), failsWith(3, /^(?!.*planted)/));
  await assert.rejects(run(["--admin", admin, "--token", "planted\nx: y"]), failsWith(1, /^(?!.*planted)/));
  await assert.rejects(
    run(["--admin", `http://u:planted@${admin}`]),
    failsWith(1, /^(?!.*planted).*--admin takes/),
  );
});

Deno.test("a gateway that is not there ends with 2", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  const admin = `127.0.0.1:${listener.addr.port}`;
  await assert.rejects(
    run(["--admin", admin]),
    failsWith(2, /^Cannot ask "http:\/\/127\.0\.0\.1:\d+": not reachable/),
  );
});

for (const admin of ["", "ftp://127.0.0.1", "http://", "127.0.0.1:99999", "file:///etc/passwd"]) {
  Deno.test(`--admin ${JSON.stringify(admin)} ends with 1`, async () => {
    await assert.rejects(run(["--admin", admin]), failsWith(1, /--admin takes an address/));
  });
}

const STRANGERS: readonly { what: string; answer: () => Response }[] = [
  { what: "a page", answer: () => new Response("<h1>Prometheus</h1>") },
  { what: "other JSON", answer: () => Response.json({ version: 1 }) },
  { what: "404", answer: () => new Response(null, { status: 404 }) },
  {
    what: "a redirect",
    answer: () => new Response(null, { status: 302, headers: { location: "/elsewhere" } }),
  },
];
for (const { what, answer } of STRANGERS) {
  Deno.test(`something else that answers ${what} ends with 2, and its token goes nowhere else`, async () => {
    const paths: string[] = [];
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      paths.push(new URL(request.url).pathname);
      return answer();
    });
    await assert.rejects(
      run(["--admin", `127.0.0.1:${server.addr.port}`, "--token", "t"]),
      failsWith(2, /gateway/),
    );
    assert.deepEqual(paths, ["/api/v1/status"]);
  });
}

/** Lets `--watch` look until `looks` times something was written. */
function watching(
  looks: number,
): StatusSeams & { readonly written: string[]; readonly forgotten: () => boolean } {
  const written: string[] = [];
  let stop = () => {};
  let forgotten = false;
  return {
    written,
    forgotten: () => forgotten,
    intervalMs: 1,
    onInterrupt(end) {
      stop = end;
      return () => void (forgotten = true);
    },
    write(text) {
      if (written.push(text) === looks) stop();
    },
  };
}

Deno.test("status --watch redraws until it is interrupted, and leaves nothing behind", async () => {
  let asked = 0;
  await using gateway = openGateway({
    status: () => Promise.resolve({ ...STATUS, connections: { active: ++asked, total: asked } }),
  });
  const seams = watching(3);
  await run(["--watch", "--admin", gateway.admin], seams);
  assert.deepEqual(seams.written.map((text) => /(\d+) open/.exec(text)?.[1]), ["1", "2", "3"]);
  for (const text of seams.written) assert.ok(text.startsWith("\x1b[H\x1b[J"));
  assert.equal(seams.forgotten(), true);
});

Deno.test("status --watch --json writes one line for each look", async () => {
  await using gateway = openGateway();
  const seams = watching(2);
  await run(["--watch", "--json", "--admin", gateway.admin], seams);
  assert.equal(seams.written.length, 2);
  for (const line of seams.written) assert.deepEqual(JSON.parse(line), STATUS);
  assert.match(seams.written[0] ?? "", /^[^\n]+\n$/);
});

Deno.test("status --watch sees a gateway go away and come back; it does not start on one that is not there", async () => {
  let away = true;
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => away ? new Response(null, { status: 503 }) : Response.json(STATUS),
  );
  const admin = `127.0.0.1:${server.addr.port}`;
  const never = watching(1);
  await assert.rejects(run(["--watch", "--admin", admin], never), failsWith(2, /busy or stopping/));
  assert.deepEqual([never.written, never.forgotten()], [[], true]);

  away = false;
  const seams = watching(3);
  const write = (text: string) => {
    away = seams.written.length === 0;
    seams.write?.(text);
  };
  await run(["--watch", "--admin", admin], { ...seams, write });
  assert.deepEqual(seams.written.map((text) => /Postern|busy/.exec(text)?.[0]), [
    "Postern",
    "busy",
    "Postern",
  ]);
});

Deno.test("status --watch is interrupted also while it waits for an answer", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<GatewayStatus>();
  await using gateway = openGateway({
    status: () => {
      asked.resolve();
      return answer.promise;
    },
  });
  const seams: StatusSeams = {
    onInterrupt(stop) {
      void asked.promise.then(stop);
      return () => {};
    },
  };
  assert.equal(await run(["--watch", "--admin", gateway.admin], seams), "");
  answer.resolve(STATUS);
});
