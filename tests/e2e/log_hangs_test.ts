import assert from "node:assert/strict";
import { LogWriter } from "../../core/supervisor/log_writer.ts";
import { Supervisor } from "../../core/supervisor/supervisor.ts";
import { startEcho } from "../support/echo.ts";
import { prepareYaml } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { ECHOED, sayHello } from "../support/ssh_like.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

Deno.test({
  name: "a log that nobody reads holds up no connection, and no end",
  ignore,
  async fn() {
    await using echo = startEcho();
    const prepared = await prepareYaml({
      yaml: `plugins: { static: { routes: [{ protocol: ssh, to: "${echo.target}" }] } }`,
    });
    const { promise: never, resolve: letGo } = Promise.withResolvers<number>();
    const supervisor = await Supervisor.start(prepared, {
      threads: 1,
      writer: new LogWriter("json", { write: () => never }),
    });
    const port = Number(supervisor.listeners[0]?.address.split(":").at(-1));
    for (let i = 0; i < 100; i++) assert.equal(await sayHello(port), ECHOED);
    assert.equal(await supervisor.drain(), true);
    letGo(1_000_000);
  },
});
