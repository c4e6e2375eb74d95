/** What the README shows, as somebody does it who has just cloned the repository. */
import assert from "node:assert/strict";
import { curl } from "../support/curl.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { writeAll } from "../../core/byte_stream.ts";
import type { Program } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { FreshFolder, publicAddress } from "./first_minute.ts";

const ignore = !can("curl") || Deno.build.os === "windows";

/** A web server such as one has on port 3000. Answers with what it was sent. */
function startService(): AsyncDisposable & { readonly port: number } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const body = new Uint8Array(await request.arrayBuffer());
    if (request.method === "POST") return new Response(body, { status: 201 });
    return new Response(`hello from ${pathname} for ${request.headers.get("x-forwarded-host")}\n`);
  });
  return { port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}

async function end(program: Program, signal: Deno.Signal): Promise<number> {
  program.kill(signal);
  return (await program.status).code;
}

Deno.test({
  name: "the first minute: a gateway, one command, and https://demo.localhost leads to the local service",
  ignore,
  async fn() {
    await using service = startService();
    await using folder = await FreshFolder.make();
    const gateway = await folder.startGateway();
    const url = `https://demo.localhost:${folder.port}`;
    assert.match(
      gateway.output,
      new RegExp(
        `deno task postern http 3000 --name demo --gateway ${folder.gateway} {2}→ {2}${url} {2}→ {2}127\\.0\\.0\\.1:3000`,
      ),
    );
    const command = await folder.start("http", String(service.port), "--name", "demo");
    assert.equal(await publicAddress(command), url);
    const { ca } = folder;

    for (const [flag, version] of [["--http1.1", "1.1"], ["--http2", "2"]] as const) {
      const page = await curl(`${url}/page?q=1`, { ca, args: [flag] });
      assert.deepEqual([page.status, page.version], [200, version], page.log);
      assert.equal(page.text, `hello from /page for demo.localhost:${folder.port}\n`);
      const body = new Uint8Array(300_000).map((_, i) => (i * 31) ^ (i >> 8));
      const file = `${folder.path}/body`;
      await Deno.writeFile(file, body);
      const posted = await curl(`${url}/post`, { ca, args: [flag, "--data-binary", `@${file}`] });
      assert.equal(posted.status, 201, posted.log);
      assert.deepEqual(posted.body, body);
    }
    await command.waitForOutput(/GET \/page 200 /);
    await command.waitForOutput(/POST \/post 201 /);
    const { stdout } = await folder.run("status", "--admin", `127.0.0.1:${folder.adminPort}`);
    assert.match(stdout, new RegExp(` development .* ${url} `), stdout);

    assert.equal(await end(command, "SIGINT"), 0, command.output);
    const gone = await curl(url, { args: ["--http1.1"] });
    assert.equal(gone.status, 404, "its name is free at once");
    assert.equal(await end(gateway, "SIGTERM"), 0, gateway.output);
  },
});

Deno.test({
  name: "the local service is not there yet: 502 in plain words, and it works once it is",
  ignore,
  async fn() {
    await using folder = await FreshFolder.make();
    await folder.startGateway();
    let port: number;
    {
      await using service = startService();
      port = service.port;
    }
    const command = await folder.start("http", String(port), "--name", "demo");
    const url = await publicAddress(command);
    assert.match(command.output, new RegExp(`Nothing listens on 127\\.0\\.0\\.1:${port} yet`));
    const { status, text, log } = await curl(url, { ca: folder.ca });
    assert.equal(status, 502, log);
    assert.match(text, /The tunnel to "demo" is up, but the local service behind it is not running/);
    await using _server = Deno.serve(
      { hostname: "127.0.0.1", port, onListen() {} },
      () => new Response("up"),
    );
    assert.equal((await curl(url, { ca: folder.ca })).text, "up");
  },
});

Deno.test({
  name: "a gateway that is killed and comes back: the quick command has its name again by itself",
  ignore,
  async fn() {
    await using service = startService();
    await using folder = await FreshFolder.make();
    const first = await folder.startGateway();
    const command = await folder.start("http", String(service.port), "--name", "demo");
    const url = await publicAddress(command);
    assert.equal((await curl(url, { ca: folder.ca })).status, 200);

    first.kill("SIGKILL");
    await first.status;
    await command.waitForOutput(/A connection to the gateway ended/);
    assert.notEqual((await curl(url, { ca: folder.ca })).code, 0, "nobody is there");
    await folder.startGateway();
    const page = await until(async () => {
      const answer = await curl(url, { ca: folder.ca });
      return answer.status === 200 && answer;
    }, { deadlineMs: 20_000, what: () => `the name to be back\n${command.output}` });
    assert.match(page.text, /^hello from \/ /);
    assert.equal(await end(command, "SIGINT"), 0, command.output);
  },
});

Deno.test({
  name: "postern tcp gives a local port a public one",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using folder = await FreshFolder.make();
    await folder.startGateway();
    const command = await folder.start("tcp", echo.target);
    assert.equal(await publicAddress(command), `tcp://localhost:${folder.tunnelPort}`);
    using client = await Deno.connect({ hostname: "127.0.0.1", port: folder.tunnelPort });
    await writeAll(client, new TextEncoder().encode("there and back"));
    await client.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(client)), "there and back");
    assert.equal(await end(command, "SIGINT"), 0, command.output);
  },
});

Deno.test({
  name:
    "token create, agent.yaml, token revoke: an agent does what its token allows, for as long as it is good",
  ignore,
  async fn() {
    await using service = startService();
    await using folder = await FreshFolder.make();
    const gateway = await folder.startGateway();
    const created = await folder.run("token", "create", "--name", "shop", "--subdomain", "shop-*");
    assert.equal(created.code, 0, created.stderr);
    const token = created.stdout.trim();
    assert.match(token, /^pst_[\w-]{43}$/);
    await gateway.waitForOutput(/ reloaded/, { deadlineMs: 30_000 });
    const [, id = ""] = /Token (\w+) is in /.exec(created.stderr) ?? assert.fail(created.stderr);

    await Deno.writeTextFile(
      `${folder.path}/agent.yaml`,
      `gateway: ${folder.gateway}
token: \${POSTERN_TOKEN}
tls: { ca: .postern/ca.pem }
services:
  - { name: shop-1, protocol: http, target: "127.0.0.1:${service.port}" }
  - { name: bank, protocol: http, target: "127.0.0.1:${service.port}" }
`,
    );
    const agent = await folder.startAgent({ POSTERN_TOKEN: token });
    await agent.waitForOutput(/"event":"service_public","service":"shop-1"/, { deadlineMs: 30_000 });
    await agent.waitForOutput(/"event":"service_refused","service":"bank","reason":"This token may not have/);
    const url = `https://shop-1.localhost:${folder.port}/`;
    assert.equal((await curl(url, { ca: folder.ca })).status, 200);

    assert.equal((await folder.run("token", "revoke", id)).code, 0);
    const { code } = await agent.status;
    assert.equal(code, 3, agent.output);
    assert.match(agent.output, /^postern: The gateway refuses this agent: This token has been revoked$/m);
    assert.equal((await curl(url)).status, 404);
  },
});

Deno.test({
  name: "before anything has run, check and explain know the development gateway already",
  ignore,
  async fn() {
    await using folder = await FreshFolder.make();
    const { code, stdout, stderr } = await folder.run("explain", "demo.localhost");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /\n= end TLS here, then the plugin answers itself\n$/);
    const checked = await folder.run("check");
    assert.equal(checked.code, 0, checked.stderr);
    assert.match(checked.stdout, /^\(development config\) is fine\.$/m);
  },
});

Deno.test({
  name: "a quick command without a gateway says what to do, and ends",
  ignore,
  async fn() {
    await using folder = await FreshFolder.make();
    const none = await folder.run("http", "3000");
    assert.equal(none.code, 1, none.stderr);
    assert.match(none.stderr, /^postern: No gateway: .*deno task gateway$/m);
  },
});
