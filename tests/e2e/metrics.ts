import type { TestGateway } from "../support/gateway.ts";
import { until } from "../support/until.ts";
import { parseExposition } from "../core/admin/exposition.ts";

/** What a gateway's `/metrics` says of `name`, without its prefix, summed over its other labels. */
export async function metric(
  gateway: TestGateway,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const response = await fetch(`${gateway.adminUrl}/metrics`);
  const samples = parseExposition(await response.text()).get(`postern_${name}`)?.samples ?? [];
  return samples
    .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
    .reduce((sum, { value }) => sum + value, 0);
}

/** Waits until `/metrics` counts `expected`: the client may be told a moment before it is counted. */
export async function untilMetric(
  gateway: TestGateway,
  expected: number,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  let last: number | undefined;
  await until(async () => (last = await metric(gateway, name, labels)) === expected, {
    what: () => `${name} ${JSON.stringify(labels)} to be ${expected}, not ${last}`,
  });
}
