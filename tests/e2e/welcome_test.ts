import assert from "node:assert/strict";
import { curl } from "../support/curl.ts";
import { TestGateway } from "../support/gateway.ts";
import { startNginx } from "../support/nginx.ts";
import { sClient } from "../support/openssl.ts";
import { hostPort } from "../support/processes.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";

const ignore = !can("curl", "openssl", "nginx");

/** As the development gateway is: TLS and HTTP listeners, static, then the welcome page. */
async function scene(routes: readonly unknown[] = []) {
  await using stack = new AsyncDisposableStack();
  // OpenSSL, and so curl, takes no wildcard right below a top-level name.
  const names = ["localhost", "*.localhost", "demo.localhost", "app.localhost"];
  const certificate = stack.use(await certificateFiles(...names));
  const gateway = stack.use(
    await TestGateway.start({
      yaml: `${certificate.yaml}
listeners: [{ address: "127.0.0.1:0" }, { address: "localhost:0", kind: http }]
plugins: ${JSON.stringify({ static: { routes }, welcome: {} })}`,
    }),
  );
  const at = (index: number) => ({ hostname: "127.0.0.1", port: gateway.port(index) });
  const owned = stack.move();
  return {
    gateway,
    ca: certificate.ca,
    https: at(0),
    http: at(1),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test({
  name: "curl sees the welcome page under any name of the development gateway, as text and as HTML",
  ignore,
  async fn() {
    await using there = await scene();
    const options = { connectTo: there.https, ca: there.ca };
    for (const name of ["localhost", "demo.localhost", "Demo.LOCALHOST"]) {
      const { status, text, headers, log } = await curl(`https://${name}/`, options);
      assert.equal(status, 200, log);
      assert.match(text, new RegExp(`You asked for ${name.toLowerCase()}`));
      assert.deepEqual(headers["content-type"], ["text/plain; charset=utf-8"]);
    }
    const page = await curl("https://demo.localhost/", { ...options, headers: { accept: "text/html" } });
    assert.match(page.text, /^<!doctype html>/);
    assert.match(String(page.headers["content-security-policy"]), /default-src 'none'/);
    const deeper = await sClient(there.https, { serverName: "a.b.localhost" });
    assert.equal(deeper.alert, 112, "one label and no more");
  },
});

Deno.test({
  name: "a static route stands in front of the welcome page",
  ignore,
  async fn() {
    await using nginx = await startNginx();
    await using there = await scene([
      { sni: "app.localhost", terminate: true, to: hostPort(nginx.address) },
    ]);
    const options = { connectTo: there.https, ca: there.ca };
    const app = await curl("https://app.localhost/", options);
    assert.equal(JSON.parse(app.text).host, "app.localhost");
    assert.match((await curl("https://demo.localhost/", options)).text, /Postern is running/);
  },
});

Deno.test({
  name: "plain HTTP is sent on to https, to the port that https is on",
  ignore,
  async fn() {
    await using there = await scene();
    const connectTo = there.http;
    const { status, headers } = await curl("http://demo.localhost/a?b=c", { connectTo });
    assert.equal(status, 308);
    assert.deepEqual(headers.location, [`https://demo.localhost:${there.https.port}/a?b=c`]);
    const post = await curl("http://demo.localhost/", { connectTo, args: ["-d", "x".repeat(100_000)] });
    assert.equal(post.status, 308, post.log);
  },
});
