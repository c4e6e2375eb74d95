/** A private service is reached by no public address; grants are checked on every stream, across tenants. */
import assert from "node:assert/strict";
import http2 from "node:http2";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { AccessManager } from "../../plugins/ws-agent/access/mod.ts";
import { can } from "../e2e/can.ts";
import { readToEnd, serveTcp, startEcho } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { DOMAIN, ENDPOINT, http, type Owner, tcp, tls, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";

const ignore = !can();
const PRIVATE = { private: true } as const;

/** The status of one request by HTTP/2, over TLS for one name, with `:authority` for another. */
async function statusByHttp2(tunnels: Tunnels, serverName: string, authority: string): Promise<number> {
  const session = http2.connect(`https://127.0.0.1:${tunnels.port}`, {
    servername: serverName,
    ca: tunnels.ca,
  });
  try {
    return await new Promise<number>((resolve, reject) => {
      session.on("error", reject);
      const request = session.request({ ":path": "/", ":authority": authority });
      request.on("response", (headers) => resolve(Number(headers[":status"])));
      request.on("error", reject);
      request.resume().end();
    });
  } finally {
    session.close();
    await new Promise<void>((resolve) =>
      session.destroyed ? resolve() : session.once("close", () => resolve())
    );
  }
}

Deno.test({
  name: "neither SNI nor Host, by HTTP/1.1, HTTP/2 or plain HTTP, nor a port leads to a private service",
  ignore,
  async fn() {
    await using hidden = serveTcp(() => {});
    await using open = serveTcp(async (conn) => {
      await conn.read(new Uint8Array(4096));
      await writeAll(conn, new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    });
    await using tunnels = await Tunnels.start({ plain: true, section: { plainHttp: true } });
    const agent = await tunnels.agent([
      { ...http("secret", hidden.target), ...PRIVATE },
      { ...tls("secret-tls", hidden.target), ...PRIVATE },
      tcp("secret-tcp", hidden.target, PRIVATE),
      http("open", open.target),
    ]);
    for (const name of ["secret", "secret-tls", "secret-tcp"]) {
      assert.deepEqual([agent.service(name)?.url, agent.port(name)], [`private:alice/${name}`, 0]);
      const host = `${name}.${DOMAIN}`;
      using byName = new HttpClient(await tunnels.connectHost(host), host);
      assert.equal((await byName.request()).status, 404, name);
      using byHost = new HttpClient(await tunnels.connectTls("open"), host);
      assert.equal((await byHost.request()).status, 421, name);
      assert.equal(await statusByHttp2(tunnels, host, host), 404, name);
      assert.equal(await statusByHttp2(tunnels, `open.${DOMAIN}`, host), 421, name);
      for (const asked of [host, `private:alice/${name}`, `alice/${name}`]) {
        const plain = await tunnels.connect(tunnels.plainPort);
        await writeAll(
          plain,
          new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: ${asked}\r\nConnection: close\r\n\r\n`),
        );
        assert.match(new TextDecoder().decode(await readToEnd(plain)), /^HTTP\/1\.1 (?:400|404) /, asked);
        closeQuietly(plain);
      }
    }
    using known = new HttpClient(await tunnels.connectTls("open"), `open.${DOMAIN}`);
    assert.equal((await known.request()).status, 200, "and the public one is reached by the same means");
    assert.deepEqual(
      (await tunnels.admin<{ routes: { match: string }[] }>("routes")).routes
        .map(({ match }) => match).toSorted(),
      [
        `open.${DOMAIN}`,
        "private:alice/secret",
        "private:alice/secret-tcp",
        "private:alice/secret-tls",
      ],
      "none is a port",
    );
    assert.equal(hidden.accepted, 0);
  },
});

function managerOf(tunnels: Tunnels, owner: Owner): AccessManager {
  return new AccessManager({
    gateway: { secure: true, host: ENDPOINT, port: tunnels.port, path: "/tunnel/v1" },
    token: tunnels.tokens[owner],
    tls: { extraCa: tunnels.ca, insecure: false },
    reconnect: { minMs: 20, maxMs: 250 },
  });
}

for (const threads of [1, 2]) {
  Deno.test({
    name:
      `an access is for whom the policy names, is asked about again, and is cut with it, ${threads} thread(s)`,
    ignore,
    async fn() {
      await using echo = startEcho();
      const may = { bob: { allow: { access: ["alice/*"] } } };
      await using tunnels = await Tunnels.start({ threads, tokens: may });
      await tunnels.agent([tcp("inner", echo.target, PRIVATE)]);
      await using alice = managerOf(tunnels, "alice");
      await using bob = managerOf(tunnels, "bob");
      // Enough of them that both data planes have some.
      const sessions = await Promise.all(
        Array.from({ length: 6 }, () => bob.startSession({ service: "alice/inner" })),
      );
      const own = await alice.startSession({ service: "inner" });
      const clients = await Promise.all([own, ...sessions].map(({ local }) => tunnels.connect(local.port)));
      for (const client of clients) {
        await writeAll(client, new TextEncoder().encode("here"));
        const buffer = new Uint8Array(4);
        for (let length = 0; length < 4;) length += await client.read(buffer.subarray(length)) ?? 4;
        assert.equal(new TextDecoder().decode(buffer), "here");
      }
      await tunnels.reloadTokens({ bob: { allow: { access: ["alice/other"] } } });
      const [kept, ...cut] = clients;
      for (const client of cut) assert.equal((await readToEnd(client)).length, 0);
      await until(() => bob.listSessions().every(({ end }) => end?.word === "access_revoked"), {
        what: "every session to hear of it",
      });
      for (const service of ["alice/inner", "alice/other"]) {
        await assert.rejects(bob.startSession({ service }), {
          name: "AccessRefused",
          message: `There is no private service "${service}", or this token may not reach it`,
        });
      }
      await kept?.closeWrite();
      assert.equal(kept && (await readToEnd(kept)).length, 0);
      for (const client of clients) closeQuietly(client);
      await alice.stopSession(own.id);
      const ends = await until(() => {
        const lines = tunnels.gateway.events.filter(({ event }) => event === "access_ended");
        return lines.length === 7 && lines;
      }, { what: "a line for each end" });
      assert.deepEqual(
        ends.map(({ owner, reason, bytesIn, bytesOut }) => [owner, reason, bytesIn, bytesOut]).toSorted(),
        [
          ["alice", "agent_left", 4, 4],
          ...sessions.map(() => ["bob", "access_revoked", 4, 4]),
        ],
      );
    },
  });
}
