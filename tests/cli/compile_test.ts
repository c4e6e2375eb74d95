import assert from "node:assert/strict";
import { compileArgs, planBinaries, TARGETS } from "../../cli/compile.ts";

const OWN = "x86_64-unknown-linux-gnu";

const PLANS: readonly (readonly [args: readonly string[], outputs: readonly string[]])[] = [
  [[], [`dist/postern-${OWN}`]],
  [["aarch64-apple-darwin"], ["dist/postern-aarch64-apple-darwin"]],
  [["aarch64-apple-darwin", "aarch64-apple-darwin"], ["dist/postern-aarch64-apple-darwin"]],
  [["--into", "/tmp/x", "x86_64-pc-windows-msvc"], ["/tmp/x/postern-x86_64-pc-windows-msvc.exe"]],
  [["all"], [
    "dist/postern-x86_64-unknown-linux-gnu",
    "dist/postern-aarch64-unknown-linux-gnu",
    "dist/postern-x86_64-apple-darwin",
    "dist/postern-aarch64-apple-darwin",
    "dist/postern-x86_64-pc-windows-msvc.exe",
  ]],
];

for (const [args, outputs] of PLANS) {
  Deno.test(`deno task compile ${args.join(" ")} makes ${outputs.length} binaries`, () => {
    assert.deepEqual(planBinaries(args, OWN).map(({ output }) => output), outputs);
  });
}

Deno.test("deno task compile refuses what it does not know", () => {
  assert.throws(
    () => planBinaries(["x86_64-linux"], OWN),
    /"x86_64-linux" is no target; known here: .*, all$/,
  );
  assert.throws(() => planBinaries(["--into"], OWN), /--into needs a folder/);
  assert.throws(
    () => planBinaries([], "riscv64-unknown-linux-gnu"),
    /"riscv64-unknown-linux-gnu" is no target/,
  );
});

Deno.test("each binary is for its target, with every permission that its workers are given parts of", () => {
  for (const target of TARGETS) {
    const args = compileArgs({ target, output: "out" });
    assert.equal(args[args.indexOf("--target") + 1], target);
    assert.ok(args.includes("-A") && args.includes("--no-prompt"));
  }
});
