import assert from "node:assert/strict";
import { HostGuard } from "../../../core/admin/host_guard.ts";

function answers(guard: HostGuard, host: string, origin?: string): number {
  const headers = origin === undefined ? { host } : { host, origin };
  return guard.refusal(new Request(`http://${host}/`, { headers }))?.status ?? 200;
}

Deno.test("on port 80 a browser leaves the port out, and so may Host and Origin", () => {
  const address = { hostname: "127.0.0.1", port: 80 };
  const guard = new HostGuard(address, address);
  for (const host of ["127.0.0.1", "127.0.0.1:80", "localhost", "[::1]"]) {
    assert.equal(answers(guard, host), 200, host);
  }
  assert.equal(answers(guard, "localhost", "http://localhost"), 200);
  assert.equal(answers(guard, "localhost:8080"), 421);
});

Deno.test("a configured name is a host that was named, not every name below it", () => {
  const address = { hostname: "127.0.0.1", port: 9090 };
  const guard = new HostGuard({ ...address, hosts: ["admin.example.com", "*.example.org"] }, address);
  assert.equal(answers(guard, "admin.example.com", "https://admin.example.com"), 200);
  assert.equal(answers(guard, "admin.example.com", "https://admin.example.com:444"), 403);
  assert.equal(answers(guard, "x.admin.example.com"), 421);
  assert.equal(answers(guard, "a.example.org"), 421);
});
