import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import { systemNetwork } from "../../../../plugins/ws-agent/agent/network.ts";
import { lendRuntimeCas } from "../../../../plugins/ws-agent/agent/trust.ts";
import type { GatewayTls } from "../../../../plugins/ws-agent/agent/settings.ts";
import { createAuthority } from "../../../support/certificates.ts";
import { readToEnd, startSilent } from "../../../support/echo.ts";
import type { Address } from "../../../support/processes.ts";
import { until } from "../../../support/until.ts";

const HOST = "tunnel.example.com";
const NETWORK = systemNetwork();
const NEVER = new AbortController().signal;

function connect({ hostname, port }: Address) {
  return NETWORK.connect({ host: hostname, port }, NEVER);
}

async function open(there: Address, tls: GatewayTls) {
  return await NETWORK.startTls(await connect(there), HOST, tls, NEVER);
}

Deno.test("handshakes that nobody answers are given up, and later ones go on working", async () => {
  const root = await createAuthority();
  const { certificate: cert, key } = await root.issue({ names: [HOST] });
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  const served = (async () => {
    for await (const conn of listener) {
      await writeAll(conn, await readToEnd(conn));
      conn.close();
    }
  })();
  const there = listener.addr as Deno.NetAddr;
  const tls = { insecure: false, extraCa: root.certificate };
  lendRuntimeCas(root.certificate); // as a worker has it, which may not ask the runtime
  await using silent = startSilent();
  // More than the runtime is trusted to give up by itself: the last of them are made by `node:tls`.
  for (let i = 0; i < 6; i++) {
    const late = new AbortController();
    const opening = assert.rejects(
      NETWORK.startTls(await connect(silent.address), HOST, tls, late.signal),
      { code: "dial-failed" },
    );
    await until(() => silent.accepted > i, { what: "the connection" });
    late.abort();
    await opening;
  }
  for (let i = 0; i < 2; i++) {
    const stream = await open(there, tls);
    await writeAll(stream, new TextEncoder().encode("hello"));
    await stream.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(stream)), "hello");
    closeQuietly(stream);
  }
  lendRuntimeCas(undefined);
  listener.close();
  await served;
});
