/** An agent whose only way out is a corporate HTTP proxy. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { ConnectProxy } from "../support/connect_proxy.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { denoEnvironment, startProgram } from "../support/processes.ts";
import { Tunnels } from "../support/tunnels.ts";
import { can } from "./can.ts";

/** No resolver of this machine knows it. */
const ENDPOINT = "tunnel.proxied.test";
const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;

Deno.test({
  name:
    "postern tcp goes through the proxy of HTTPS_PROXY, with its password, and without asking for the gateway's address",
  ignore: !can(),
  async fn() {
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ hostnames: [ENDPOINT], section: { endpoint: ENDPOINT } });
    await using proxy = new ConnectProxy({
      credentials: "user:hunter22",
      names: { [`${ENDPOINT}:${tunnels.port}`]: tunnels.port },
    });
    const start = async (variable: string) =>
      await startProgram(Deno.execPath(), {
        args: [
          ...["run", "--no-prompt", "-A", CLI, "tcp", echo.target, "--connections", "1"],
          ...["--gateway", `wss://${ENDPOINT}:${tunnels.port}`, "--ca", await tunnels.caFile()],
        ],
        env: { ...denoEnvironment(), POSTERN_TOKEN: tunnels.tokens.alice, HTTPS_PROXY: variable },
        stopSignal: "SIGKILL",
      });

    await using refused = await start(`http://127.0.0.1:${proxy.port}`);
    assert.notEqual((await refused.status).code, 0);
    assert.match(refused.output, /The proxy at 127\.0\.0\.1:\d+ wants a user and a password \(407\)/);

    await using program = await start(`http://user:hunter22@127.0.0.1:${proxy.port}`);
    const port = () => Number(/^tcp:\/\/\S+:(\d+)$/m.exec(program.output)?.[1]);
    await program.waitFor(() => port() > 0, { what: "an address", deadlineMs: 20_000 });
    const client = await tunnels.connect(port());
    await writeAll(client, new TextEncoder().encode("ping"));
    await client.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(client)), "ping");
    closeQuietly(client);
    assert.ok(!program.output.includes("hunter22"));
  },
});
