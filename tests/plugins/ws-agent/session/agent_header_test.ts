import assert from "node:assert/strict";
import { parseAgentHeader } from "../../../../plugins/ws-agent/session/agent_header.ts";

const NOW = 1_800_000_000_000;

const cases: { value: string | undefined; run: { epoch: number; slot: number } | undefined }[] = [
  { value: undefined, run: { epoch: NOW, slot: 0 } },
  { value: "epoch=1700000000000; connection=3", run: { epoch: 1_700_000_000_000, slot: 3 } },
  { value: "connection=1;epoch=5", run: { epoch: 5, slot: 1 } },
  { value: "epoch=5", run: { epoch: 5, slot: 0 } },
  { value: "epoch=5; version=1.0.0", run: { epoch: 5, slot: 0 } },
  { value: "", run: undefined },
  { value: "epoch=", run: undefined },
  { value: "epoch=soon", run: undefined },
  { value: "epoch=-1", run: undefined },
  { value: "epoch=1e9", run: undefined },
  { value: "epoch=9007199254740993", run: undefined },
  { value: "epoch=5; connection=64", run: undefined },
  { value: "epoch=5; epoch=6", run: undefined },
  { value: "epoch=5, epoch=6", run: undefined },
  { value: "epoch=5;;connection=1", run: undefined },
];
for (const { value, run } of cases) {
  Deno.test(`Postern-Agent: ${value ?? "absent"} is ${run ? `run ${run.epoch}, slot ${run.slot}` : "malformed"}`, () => {
    assert.deepEqual(parseAgentHeader(value, NOW), run);
  });
}
