import assert from "node:assert/strict";
import { formatBundle, parseBundle } from "../../core/acme/bundle.ts";
import { faultOf } from "../../core/acme/http.ts";
import { parseChallengeRequest } from "../../core/data_plane/http_challenge.ts";
import { fuzz } from "./fuzz.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();
const PATH = "/.well-known/acme-challenge/";

fuzz("challenge request", () => [
  encoder.encode(`GET ${PATH}LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0 HTTP/1.1\r\nHost: a.b\r\n\r\n`),
  encoder.encode(`GET ${PATH}a HTTP/1.1\r\n`),
], (input) => {
  const parsed = parseChallengeRequest(input);
  if (parsed.kind === "more") assert.ok(parsed.total > input.length && parsed.total < input.length + 64);
  if (parsed.kind !== "yes") return;
  assert.match(parsed.value, /^[\w-]{1,256}$/);
  assert.ok(decoder.decode(input).startsWith(`GET ${PATH}${parsed.value} `));
});

const KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nBBBB\nCC==\n-----END CERTIFICATE-----";

fuzz("certificate of the cache", () => [
  encoder.encode(`${KEY}\n${CERTIFICATE}\n`),
  encoder.encode(`${KEY}\n${CERTIFICATE}\n${CERTIFICATE}\n`),
], (input) => {
  const bundle = parseBundle(decoder.decode(input));
  if (bundle === undefined) return;
  assert.match(bundle.keyPem, /^-----BEGIN [A-Z ]*PRIVATE KEY-----\n/);
  assert.match(bundle.certPem, /^-----BEGIN CERTIFICATE-----\n/);
  assert.deepEqual(parseBundle(formatBundle(bundle)), bundle);
});

fuzz("problem of a directory", () => [
  encoder.encode('{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}'),
], (input, random) => {
  const reply = {
    status: random.pick([400, 403, 429, 500, 503]),
    headers: new Headers(),
    text: decoder.decode(input),
  };
  const { message } = faultOf(reply, "The directory", 0);
  assert.doesNotMatch(message, /\p{Cc}/u);
  assert.ok(message.length < 1200);
});
