import assert from "node:assert/strict";
import { connect as connectTls } from "node:tls";
import { writeAll } from "../../core/byte_stream.ts";
import { createCertificate, type MadeCertificate } from "../support/certificates.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { prepareYaml, TestGateway, type TestGatewayOptions } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";
import { ECHOED, sayHello, SshLikeClient } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;

/** SSH goes to `to`; `more` is further YAML at the top. */
function sshTo(to: string, more = ""): TestGatewayOptions {
  return { yaml: `${more}\nplugins: { static: { routes: [{ protocol: ssh, to: "${to}" }] } }`, threads: 2 };
}

Deno.test({
  name: "a reload changes routes in every data plane, and open connections stay where they are",
  ignore,
  async fn() {
    await using one = startEcho();
    await using other = startEcho();
    await using gateway = await TestGateway.start(sshTo(one.target));
    using before = await (await SshLikeClient.connect(gateway.port())).greeted();

    assert.deepEqual(await gateway.reload(sshTo(other.target)), []);
    for (let i = 0; i < 8; i++) assert.equal(await sayHello(gateway.port()), ECHOED);
    assert.deepEqual([one.accepted, other.accepted], [1, 8]);
    await before.echo("where I was");
    assert.equal(await before.finish(), "");
  },
});

Deno.test({
  name: "a reload changes limits for those who come, whatever is open",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start(sshTo(echo.target));
    using before = await (await SshLikeClient.connect(gateway.port())).greeted();
    await gateway.reload(sshTo(echo.target, "limits: { maxConnections: 1 }"));
    assert.equal(await sayHello(gateway.port()), "");
    await gateway.reload(sshTo(echo.target, "limits: { maxConnections: 2 }"));
    assert.equal(await sayHello(gateway.port()), ECHOED);
    await before.echo("unmoved");
    before[Symbol.dispose]();
    await until(() => gateway.supervisor.limits.open === 0, { what: "all to be counted as ended" });
  },
});

Deno.test({
  name: "a reload changes whose PROXY header is believed",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start(sshTo(echo.target));
    const from = (...ranges: string[]) =>
      `listeners: [{ address: "127.0.0.1:0", proxyProtocol: { from: ${JSON.stringify(ranges)} } }]`;
    const answer = async () => {
      using client = await gateway.connect();
      await writeAll(client, new TextEncoder().encode("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nSSH-2.0-x\r\n"));
      await client.closeWrite();
      return new TextDecoder().decode(await readToEnd(client).catch(() => new Uint8Array()));
    };
    assert.notEqual(await answer(), "SSH-2.0-x\r\n");
    assert.deepEqual(await gateway.reload(sshTo(echo.target, from("127.0.0.0/8"))), []);
    assert.equal(await answer(), "SSH-2.0-x\r\n");
    await gateway.logged("connection_opened", ({ source }) => source === "192.0.2.1:1");
    assert.deepEqual(await gateway.reload(sshTo(echo.target, from("192.0.2.0/24"))), []);
    assert.notEqual(await answer(), "SSH-2.0-x\r\n");
  },
});

Deno.test({
  name: "a reload changes the admin token: the old one is worth nothing from then on",
  ignore,
  async fn() {
    await using echo = startEcho();
    const withToken = (token: string) =>
      sshTo(echo.target, `admin: { address: "127.0.0.1:0", token: ${token} }`);
    await using gateway = await TestGateway.start(withToken("first-token"));
    const status = async (token: string) => {
      const response = await fetch(`${gateway.adminUrl}/api/v1/status`, {
        headers: { authorization: `Bearer ${token}` },
      });
      await response.body?.cancel();
      return response.status;
    };
    assert.deepEqual([await status("first-token"), await status("second-token")], [200, 401]);
    assert.deepEqual(await gateway.reload(withToken("second-token")), []);
    assert.deepEqual([await status("first-token"), await status("second-token")], [401, 200]);
  },
});

/** The leaf that a client gets to see for a name. */
function servedCertificate(port: number, servername: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: "127.0.0.1", servername, rejectUnauthorized: false }, () => {
      resolve(new Uint8Array(socket.getPeerCertificate().raw));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

async function writePair(folder: string, { certificate, key }: MadeCertificate): Promise<void> {
  await Deno.writeTextFile(`${folder}/cert.pem`, certificate);
  await Deno.writeTextFile(`${folder}/key.pem`, key);
}

Deno.test({
  name: "certificates change with a reload or by themselves; bad ones are refused, and the good ones stay",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using folder = await temporaryFolder();
    const [first, second, third] = [
      await createCertificate("one.test"),
      await createCertificate("one.test"),
      await createCertificate("one.test"),
    ];
    const options: TestGatewayOptions = {
      yaml: `tls: { certificates: [{ cert: "${folder.path}/cert.pem", key: "${folder.path}/key.pem" }] }
plugins: { static: { routes: [{ sni: one.test, terminate: true, to: "${echo.target}" }] } }`,
      threads: 2,
    };
    await writePair(folder.path, first);
    await using gateway = await TestGateway.start(options);
    const { supervisor } = gateway;
    assert.deepEqual(await servedCertificate(gateway.port(), "one.test"), first.der);

    await writePair(folder.path, second);
    assert.deepEqual(await gateway.reload(options), []);
    assert.deepEqual(await servedCertificate(gateway.port(), "one.test"), second.der);

    await Deno.writeTextFile(`${folder.path}/cert.pem`, "no certificate at all");
    await assert.rejects(gateway.reload(options), { code: "certificate-invalid" });
    await supervisor.reloadCertificates();
    assert.match(supervisor.reloadError ?? "", /cert\.pem/);
    assert.deepEqual(await servedCertificate(gateway.port(), "one.test"), second.der);

    await writePair(folder.path, third);
    await supervisor.reloadCertificates();
    assert.equal(supervisor.reloadError, undefined);
    assert.deepEqual(await servedCertificate(gateway.port(), "one.test"), third.der);
  },
});

Deno.test({
  name: "what needs a restart is named and left: addresses, the set of plugins, wider permissions",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using other = startEcho();
    const options = (more: string, allTo: string, extra = ""): TestGatewayOptions => ({
      yaml: `${more}\nplugins: { all: { to: "${allTo}" }${extra} }`,
      declarations: { all: { module: troubled, isolation: "worker", permissions: { net: ["{to}"] } } },
    });
    await using gateway = await TestGateway.start(options("", echo.target));
    const port = gateway.port();
    using open = await (await SshLikeClient.connect(port)).greeted();
    const reloads = async (next: TestGatewayOptions) => await gateway.reload(next);
    assert.deepEqual(await reloads(options(`listeners: [{ address: "127.0.0.2:0" }]`, echo.target)), [
      "listeners",
    ]);
    assert.deepEqual(await reloads(options(`admin: { address: "127.0.0.2:0" }`, echo.target)), [
      "admin.address",
    ]);
    assert.deepEqual(await reloads(options("", echo.target, ", static: {}")), ["plugins"]);
    assert.deepEqual(await reloads(options("", other.target)), ["plugins.all (other permissions)"]);
    assert.equal(gateway.port(), port);
    assert.equal(await sayHello(port), ECHOED);
    assert.equal(other.accepted, 0);
    await open.echo("never moved");
  },
});

for (const isolation of ["inline", "worker"] as const) {
  Deno.test({
    name: `when a plugin (${isolation}) does not take its new config, every part keeps the old one`,
    ignore,
    async fn() {
      await using echo = startEcho();
      await using web = startEcho();
      await using other = startEcho();
      const options = (webTo: string, mine: string, token: string): TestGatewayOptions => ({
        yaml: `admin: { address: "127.0.0.1:0", token: ${token} }
plugins: { static: { routes: [{ protocol: http, to: "${webTo}" }] }, mine: ${mine} }`,
        declarations: { mine: { module: troubled, isolation, permissions: {} } },
        threads: 2,
      });
      const good = options(web.target, `{ to: "${echo.target}" }`, "old-token");
      await using gateway = await TestGateway.start(good);
      using open = await (await SshLikeClient.connect(gateway.port())).greeted();
      const bad = options(other.target, `{ to: "${other.target}", reload: throws }`, "new-token");
      await assert.rejects(gateway.reload(bad), {
        code: "plugin-failed",
        message: 'Plugin "mine" did not take its new config: the new config is not to my taste',
      });

      for (let i = 0; i < 8; i++) {
        assert.equal(await sayHello(gateway.port()), ECHOED);
        using browser = await gateway.connect();
        await writeAll(browser, new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
        await browser.closeWrite();
        assert.match(new TextDecoder().decode(await readToEnd(browser)), /^GET/);
      }
      assert.deepEqual([web.accepted, other.accepted], [8, 0]);
      await open.echo("as before");
      const headers = { authorization: "Bearer old-token" };
      const response = await fetch(`${gateway.adminUrl}/api/v1/status`, { headers });
      await response.body?.cancel();
      assert.equal(response.status, 200);

      const better = options(other.target, `{ to: "${other.target}" }`, "new-token");
      assert.deepEqual(await gateway.reload(better), []);
      assert.equal(await sayHello(gateway.port()), ECHOED);
      assert.equal(other.accepted, 1);
    },
  });
}

Deno.test({
  name: "a reload that is asked for while another runs waits for it: the last one holds",
  ignore,
  async fn() {
    await using one = startEcho();
    await using other = startEcho();
    await using folder = await temporaryFolder();
    await writePair(folder.path, await createCertificate("one.test"));
    const certificate = `{ cert: "${folder.path}/cert.pem", key: "${folder.path}/key.pem" }`;
    const slow = `tls: { certificates: [${Array(200).fill(certificate)}] }`; // all of them are read
    await using gateway = await TestGateway.start(sshTo(one.target));
    const first = await prepareYaml(sshTo(one.target, slow));
    const last = await prepareYaml(sshTo(other.target));
    const { supervisor } = gateway;
    await Promise.all([supervisor.reload(first), supervisor.reloadCertificates(), supervisor.reload(last)]);
    for (let i = 0; i < 4; i++) assert.equal(await sayHello(gateway.port()), ECHOED);
    assert.deepEqual([one.accepted, other.accepted], [0, 4]);
  },
});
