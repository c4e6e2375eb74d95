import assert from "node:assert/strict";
import { GatewayError } from "../../../../../core/errors.ts";
import { parseGateway } from "../../../../../plugins/ws-agent/agent/gateway_address.ts";
import { chooseProxy } from "../../../../../plugins/ws-agent/agent/proxy/choose_proxy.ts";
import { formatProxy, parseProxy } from "../../../../../plugins/ws-agent/agent/proxy/proxy_address.ts";

const GOOD: readonly {
  readonly text: string;
  readonly place: string;
  readonly shown?: readonly [string, string];
}[] = [
  { text: "http://proxy.example.com:3128", place: "proxy.example.com:3128" },
  { text: "HTTP://Proxy.Example.com:3128/", place: "proxy.example.com:3128" },
  { text: "proxy.example.com:3128", place: "proxy.example.com:3128" },
  { text: "http://proxy.example.com", place: "proxy.example.com:80" },
  { text: "http://[::1]:3128", place: "[::1]:3128" },
  { text: "http://user:pass@10.0.0.1:3128", place: "10.0.0.1:3128", shown: ["user", "pass"] },
  { text: "user@10.0.0.1:3128", place: "10.0.0.1:3128", shown: ["user", ""] },
  { text: "http://a%40b:p%3A%2F%C3%A9@10.0.0.1:1", place: "10.0.0.1:1", shown: ["a@b", "p:/é"] },
];

for (const { text, place, shown } of GOOD) {
  Deno.test(`parseProxy() reads ${text}`, () => {
    const proxy = parseProxy(text);
    assert.equal(formatProxy(proxy), place);
    assert.deepEqual(proxy.credentials && [proxy.credentials.user, proxy.credentials.password], shown);
  });
}

const BAD = [
  "",
  "http://",
  "https://user:hunter22@proxy:1",
  "socks5://user:hunter22@proxy:1",
  "http://user:hunter22@proxy:0",
  "http://user:hunter22@proxy:99999",
  "http://user:hunter22@proxy:1/path",
  "http://user:hunter22/x@proxy:1",
  "http://user:hunter22@x@proxy:1",
  "http://user:hunter22%zz@proxy:1",
  "http://user:hunter22%0d%0aX@proxy:1",
  "http://user:hunter22@bad host:1",
];

for (const text of BAD) {
  Deno.test(`parseProxy() refuses ${JSON.stringify(text)}, and does not repeat it`, () => {
    assert.throws(() => parseProxy(text), (error) => {
      assert.ok(error instanceof GatewayError && error.code === "config-invalid");
      assert.match(error.message, /^Not the address of a proxy: /);
      return !error.message.includes("hunter22");
    });
  });
}

const P = "http://p:1", Q = "http://q:2";
const CHOICES: readonly {
  readonly gateway?: string;
  readonly configured?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly chosen: string | undefined;
}[] = [
  { chosen: undefined },
  { env: { HTTPS_PROXY: P }, chosen: "p:1" },
  { env: { https_proxy: P }, chosen: "p:1" },
  { env: { https_proxy: Q, HTTPS_PROXY: P }, chosen: "q:2" },
  { env: { https_proxy: "", HTTPS_PROXY: P }, chosen: "p:1" },
  { env: { HTTPS_PROXY: P }, configured: Q, chosen: "q:2" },
  { env: { HTTPS_PROXY: P, NO_PROXY: "*" }, configured: Q, chosen: "q:2" },
  { env: { HTTPS_PROXY: P }, configured: "none", chosen: undefined },
  { env: { HTTP_PROXY: P, http_proxy: P, ALL_PROXY: P }, chosen: undefined },
  { gateway: "ws://tunnel.example.com", env: { HTTPS_PROXY: P }, chosen: undefined },
  { gateway: "ws://tunnel.example.com", configured: Q, chosen: "q:2" },
  ...["tunnel.localhost:8443", "localhost", "127.0.0.1:8443", "127.1.2.3", "[::1]:8443"].flatMap((
    gateway,
  ) => [
    { gateway, env: { HTTPS_PROXY: P }, chosen: undefined },
    { gateway, configured: Q, chosen: undefined },
  ]),
  ...["*", "tunnel.example.com", "example.com", ".example.com", "*.example.com", "com", "a, ,EXAMPLE.com b"]
    .map(
      (list) => ({ env: { HTTPS_PROXY: P, NO_PROXY: list }, chosen: undefined }),
    ),
  ...[
    "",
    "ample.com",
    "xtunnel.example.com",
    "a.tunnel.example.com",
    "10.0.0.0/8",
    ".",
    "example.com:80",
    "::",
  ].map(
    (list) => ({ env: { HTTPS_PROXY: P, NO_PROXY: list }, chosen: "p:1" }),
  ),
  { env: { HTTPS_PROXY: P, no_proxy: "example.com:443", NO_PROXY: "x" }, chosen: undefined },
  ...["10.1.2.3", "10.0.0.0/8", "x,10.0.0.0/8", "10.1.2.3:443"].map(
    (list) => ({ gateway: "10.1.2.3", env: { HTTPS_PROXY: P, NO_PROXY: list }, chosen: undefined }),
  ),
  ...["10.1.2.4", "2.3", "11.0.0.0/8", "10.0.0.0/99", "10.1.2.3:80"].map(
    (list) => ({ gateway: "10.1.2.3", env: { HTTPS_PROXY: P, NO_PROXY: list }, chosen: "p:1" }),
  ),
  ...["2001:db8::1", "[2001:db8::1]", "2001:db8::/32", "[2001:db8::1]:443"].map(
    (list) => ({ gateway: "[2001:db8::1]", env: { HTTPS_PROXY: P, NO_PROXY: list }, chosen: undefined }),
  ),
];

for (const { gateway = "wss://tunnel.example.com", configured, env = {}, chosen } of CHOICES) {
  const what = `${gateway}, configured ${configured ?? "nothing"}, with ${JSON.stringify(env)}`;
  Deno.test(`the proxy for ${what} is ${chosen ?? "none"}`, () => {
    const proxy = chooseProxy(
      parseGateway(gateway),
      configured === undefined || configured === "none" ? configured : parseProxy(configured),
      (name) => env[name],
    );
    assert.equal(proxy && formatProxy(proxy), chosen);
  });
}
