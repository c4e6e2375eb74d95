import assert from "node:assert/strict";
import { AdminGuard, ForbiddenTarget } from "../../../core/data_plane/admin_guard.ts";

const OURS = ["10.0.0.5", "2001:db8::5"];

interface Case {
  /** Where the admin side listens. */
  readonly admin: string;
  readonly forbidden: readonly string[];
  readonly allowed: readonly string[];
}

const LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "0.0.0.0", "::"];
const MAPPED = ["::ffff:127.0.0.1", "::ffff:7f00:1", "::FFFF:127.8.9.10", "::ffff:0.0.0.0"];
const ELSEWHERE = ["10.0.0.6", "192.0.2.1", "2001:db8::6", "::ffff:10.0.0.6", "128.0.0.1"];

const CASES: readonly Case[] = [
  ...["127.0.0.1:9090", "[::1]:9090", "127.0.0.9:9090", "localhost:9090", "[::ffff:127.0.0.1]:9090"].map((
    admin,
  ) => ({
    admin,
    forbidden: [...LOOPBACK, ...MAPPED],
    allowed: [...OURS, ...ELSEWHERE],
  })),
  ...["0.0.0.0:9090", "[::]:9090"].map((admin) => ({
    admin,
    forbidden: [...LOOPBACK, ...MAPPED, ...OURS, "::ffff:10.0.0.5", "2001:DB8:0::5"],
    allowed: ELSEWHERE,
  })),
  {
    admin: "10.0.0.5:9090",
    forbidden: ["10.0.0.5", "::ffff:10.0.0.5", "::ffff:a00:5"],
    allowed: [...LOOPBACK, ...ELSEWHERE, "2001:db8::5"],
  },
];

function isForbidden(check: () => void): boolean {
  try {
    check();
    return false;
  } catch (error) {
    assert.ok(error instanceof ForbiddenTarget);
    return true;
  }
}

for (const { admin, forbidden, allowed } of CASES) {
  const guard = new AdminGuard(admin, (address) => OURS.includes(address));
  Deno.test(`with the admin side on ${admin}, nobody gets to it by another spelling`, () => {
    for (const address of forbidden) assert.ok(isForbidden(() => guard.check(address, 9090)), address);
    for (const address of allowed) assert.ok(!isForbidden(() => guard.check(address, 9090)), address);
    for (const address of [...forbidden, ...allowed]) {
      assert.ok(!isForbidden(() => guard.check(address, 9091)), `${address} with another port`);
    }
  });
}

Deno.test("what was resolved to no address is not believed to be harmless", () => {
  assert.throws(() => new AdminGuard("127.0.0.1:9090").check("localhost", 9090), ForbiddenTarget);
});

function connected(
  local: string,
  remote: string,
  port = 9090,
): Pick<Deno.TcpConn, "localAddr" | "remoteAddr"> {
  return {
    localAddr: { transport: "tcp", hostname: local, port: 40_000 },
    remoteAddr: { transport: "tcp", hostname: remote, port },
  };
}

Deno.test("a connection that leads to the machine itself is not let through to a wildcard", () => {
  const guard = new AdminGuard("0.0.0.0:9090", () => false);
  assert.ok(isForbidden(() => guard.checkConnected(connected("192.0.2.7", "192.0.2.7"))));
  assert.ok(isForbidden(() => guard.checkConnected(connected("::ffff:192.0.2.7", "192.0.2.7"))));
  assert.ok(!isForbidden(() => guard.checkConnected(connected("192.0.2.7", "192.0.2.7", 9091))));
  assert.ok(!isForbidden(() => guard.checkConnected(connected("192.0.2.7", "192.0.2.8"))));
  const loopback = new AdminGuard("127.0.0.1:9090", () => false);
  assert.ok(!isForbidden(() => loopback.checkConnected(connected("192.0.2.7", "192.0.2.7"))));
  assert.ok(isForbidden(() => loopback.checkConnected(connected("127.0.0.1", "127.0.0.1"))));
});

Deno.test("which addresses are the machine's own is found out by listening", () => {
  const guard = new AdminGuard("0.0.0.0:9090");
  assert.ok(!isForbidden(() => guard.check("192.0.2.1", 9090)), "TEST-NET-1 is nobody's (RFC 5737)");
});
