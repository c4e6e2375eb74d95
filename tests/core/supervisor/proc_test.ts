import assert from "node:assert/strict";
import { findVariable, parseStat, processIds, statOf, variableOf } from "../../../core/supervisor/proc.ts";
import { granted } from "../../support/permissions.ts";
import { startProgram } from "../../support/processes.ts";

const ignore = Deno.build.os !== "linux" || !granted("read", "write", "env", "run", "sys", "ffi", "net");

/** The fields from the 4th to the 22nd, of which the last is the start time. */
const REST = `1 2 3 ${"0 ".repeat(15)}4711`;

for (
  const { name, stat, expected } of [
    { name: "an ordinary one", stat: `7 (sh) S ${REST} 5 6\n`, expected: { state: "S", startTime: 4711 } },
    { name: "a name with spaces", stat: `7 (a b c) R ${REST}`, expected: { state: "R", startTime: 4711 } },
    {
      name: "a name with what looks like the end of it",
      stat: `7 (x) Z 1 2) S ${REST}`,
      expected: { state: "S", startTime: 4711 },
    },
    { name: "a name of two lines", stat: `7 (x)\ny) Z ${REST}`, expected: { state: "Z", startTime: 4711 } },
    { name: "half of it", stat: "7 (sh) S 1 2 3", expected: undefined },
    { name: "nothing", stat: "", expected: undefined },
  ]
) {
  Deno.test(`parseStat() reads ${name}`, () => assert.deepEqual(parseStat(stat), expected));
}

/** Reads `text` in pieces of `size` bytes. */
function pieces(text: string, size: number): (into: Uint8Array) => number | null {
  const bytes = new TextEncoder().encode(text);
  let offset = 0;
  return (into) => {
    const piece = bytes.subarray(offset, offset + Math.min(size, into.length));
    into.set(piece);
    offset += piece.length;
    return piece.length || null;
  };
}

for (
  const { name, environ, expected } of [
    { name: "the only variable", environ: "P=12\0", expected: "12" },
    { name: "one between others", environ: "A=1\0P=12\0B=2\0", expected: "12" },
    { name: "one behind a large value", environ: `A=${"é".repeat(100_000)}\0P=12\0`, expected: "12" },
    { name: "an empty value", environ: "P=\0", expected: "" },
    { name: "nothing in an empty environment", environ: "", expected: undefined },
    { name: "nothing in a name that ends alike", environ: "XP=12\0", expected: undefined },
    { name: "nothing in a name that begins alike", environ: "PX=12\0", expected: undefined },
    { name: "nothing in a value", environ: "A=P=12\0B=\nP=12\n\0", expected: undefined },
  ]
) {
  Deno.test(`findVariable() finds ${name}, however it is cut`, () => {
    for (const size of [1, 2, 3, 7, 65_536]) {
      if (environ.length / size < 50_000) assert.equal(findVariable(pieces(environ, size), "P"), expected);
    }
  });
}

Deno.test({
  name: "statOf() and variableOf() tell of a real process, and of none when it is gone",
  ignore,
  async fn() {
    const program = await startProgram("sleep", { args: ["300"], env: { FIRST: "1", SECOND: "a=b" } });
    await using _ = program;
    await program.waitFor(() => variableOf(program.pid, "SECOND") === "a=b", { what: "its environment" });
    assert.ok(processIds().includes(program.pid));
    const stat = statOf(program.pid);
    assert.ok(stat && stat.startTime >= (statOf("self")?.startTime ?? Infinity), JSON.stringify(stat));
    assert.equal(variableOf(program.pid, "THIRD"), undefined);
    program.kill("SIGKILL");
    await program.status;
    assert.equal(statOf(program.pid), undefined);
    assert.equal(variableOf(program.pid, "SECOND"), undefined);
  },
});
