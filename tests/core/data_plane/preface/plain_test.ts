import assert from "node:assert/strict";
import { parsePlainOpening } from "../../../../core/data_plane/preface/plain.ts";
import { bytes } from "./samples.ts";

for (
  const [text, expected] of [
    ["GET / HTTP/1.1\r\n", "http"],
    ["POST /", "http"],
    ["PRI * HTTP/2.0\r\n", "http"],
    ["PROPFIND /", "http"],
    ["CONNECT ", "http"],
    ["SSH-2.0-OpenSSH_9.2\r\n", "ssh"],
    ["SSH-", "ssh"],
    ["get / HTTP/1.1", "other"],
    ["GETX", "other"],
    ["GET\t", "other"],
    ["SSH_", "other"],
    ["HELO mail", "other"],
    ["\r\nGET /", "other"],
    ["\x00", "other"],
    ["\xff", "other"],
    ["G", "more"],
    ["GET", "more"],
    ["P", "more"],
    ["PROP", "more"],
    ["SSH", "more"],
    ["CONNECT", "more"],
  ] as const
) {
  Deno.test(`parsePlainOpening() of ${JSON.stringify(text)} is ${expected}`, () => {
    const parsed = parsePlainOpening(bytes(text));
    assert.equal(parsed.kind === "yes" ? parsed.value : parsed.kind, expected);
  });
}

Deno.test("parsePlainOpening() asks for no more than the shortest opening that is still possible", () => {
  assert.deepEqual(parsePlainOpening(bytes("P")), { kind: "more", total: 4 }); // PUT and PRI
  assert.deepEqual(parsePlainOpening(bytes("PROP")), { kind: "more", total: 9 });
});
