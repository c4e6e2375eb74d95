import assert from "node:assert/strict";
import { GatewayError } from "../../core/errors.ts";
import {
  addressBytes,
  addressFromBytes,
  formatHostPort,
  parseAddress,
  parseCidrs,
  parseHostPort,
} from "../../core/net/address.ts";
import { fuzz } from "./fuzz.ts";

const encoder = new TextEncoder();
const SEEDS = [
  "10.0.0.5",
  "::ffff:10.0.0.5",
  "2001:db8::1",
  "[::1]:443",
  "db.internal:5432",
  "10.0.0.0/8",
  "fe80::1%eth0",
]
  .map((text) => encoder.encode(text));

/** What `attempt` gives, or `undefined` where it throws what it documents. */
function orFault<T>(attempt: () => T): T | undefined {
  try {
    return attempt();
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

fuzz("addresses", () => SEEDS, (input) => {
  const text = String.fromCharCode(...input);
  const address = parseAddress(text);
  if (address !== undefined) {
    assert.equal(parseAddress(address), address);
    assert.equal(addressFromBytes(addressBytes(text)), address);
    assert.equal(parseCidrs([address]).has(text), true);
  }
  const hostPort = orFault(() => parseHostPort(text));
  if (hostPort !== undefined) assert.deepEqual(parseHostPort(formatHostPort(hostPort)), hostPort);
  orFault(() => parseCidrs([text]))?.has("10.0.0.1");
});
