import assert from "node:assert/strict";
import { createProgram } from "../../cli/cli.ts";
import { bashCompletions } from "../../cli/completions/bash.ts";
import { fishCompletions } from "../../cli/completions/fish.ts";
import { powershellCompletions } from "../../cli/completions/powershell.ts";
import { commandShapes, keyOf } from "../../cli/completions/shape.ts";
import { zshCompletions } from "../../cli/completions/zsh.ts";
import { granted, hasProgram } from "../support/permissions.ts";
import { runOrThrow, temporaryFolder } from "../support/processes.ts";
import { MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const shapes = commandShapes(createProgram());
const SCRIPTS = {
  bash: bashCompletions("postern", shapes),
  zsh: zshCompletions("postern", shapes),
  fish: fishCompletions("postern", shapes),
  powershell: powershellCompletions("postern", shapes),
};

/** What the last word of a command line is completed to. The working directory has the files `one file` and `other`. */
const COMPLETED: readonly (readonly [words: readonly string[], to: readonly string[]])[] = [
  [["to"], ["token"]],
  [["token", ""], ["create", "list", "revoke"]],
  [["token", "create", "--max"], ["--max-services", "--max-streams", "--max-tunnels"]],
  [["token", "list", "--m"], []],
  [["gateway", "--log-level", "d"], ["debug"]],
  [["gateway", "--log-format", ""], ["json", "pretty"]],
  [["gateway", "--config", "o"], ["one file", "other"]],
  [["gateway", "-c", "oth"], ["other"]],
  [["http", "3000", "--ca", "oth"], ["other"]],
  [["gateway", "--config", "token", "--thr"], ["--threads"]],
  [["gateway", "--plugins", "token", "cre"], []],
  [["access", "internal", "--tt"], ["--ttl"]],
  [["access", "list", "--js"], ["--json"]],
  [["completions", "z"], ["zsh"]],
];

Deno.test("The shapes of commands say what follows an option", () => {
  const gateway = shapes.find((shape) => keyOf(shape) === "gateway") ?? assert.fail("There is no gateway");
  const value = (name: string) => gateway.options.find(({ names }) => names.includes(name))?.value;
  assert.deepEqual(value("-c"), { kind: "file" });
  assert.deepEqual(value("--threads"), { kind: "text", name: "n" });
  assert.deepEqual(value("--log-format"), { kind: "choice", choices: ["pretty", "json"] });
  assert.equal(value("--help"), undefined);
  assert.ok(shapes.some((shape) => keyOf(shape) === "token create"));
});

Deno.test({
  name: "postern completions prints a script for each shell that knows every command and every option",
  ignore: !MAY_RUN_COMMANDS,
  async fn() {
    for (const [shell, script] of Object.entries(SCRIPTS)) {
      const { code, stdout, stderr } = await runHere("completions", shell);
      assert.deepEqual([code, stdout, stderr], [0, script, ""]);
      for (const { path, options } of shapes) {
        for (const word of path) assert.ok(script.includes(word), `${shell}: ${word}`);
        for (const name of options.flatMap(({ names }) => names)) {
          const flag = shell === "fish"
            ? name.replace(/^--?/, (dashes) => `-${"sl"[dashes.length - 1]} `)
            : name;
          assert.ok(script.includes(flag), `${shell}: ${name}`);
        }
      }
    }
  },
});

Deno.test({
  name: "bash completes commands, options, their values and files",
  ignore: !granted("run", "write", "env") || !hasProgram("bash"),
  async fn() {
    await using folder = await files();
    const asked = COMPLETED.map(([words]) => `ask postern ${words.map(quote).join(" ")}`);
    const bash = `source <(cat "$0")
ask() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  _postern
  printf '%s\\t' "\${COMPREPLY[@]}"
  echo
}
${asked.join("\n")}
ask postern gateway --log-level =
ask postern gateway --log-level = d
complete -p postern
`;
    const script = `${folder.path}/.completions`;
    await Deno.writeTextFile(script, SCRIPTS.bash);
    const args = ["--norc", "-c", bash, script];
    const { stdout } = await runOrThrow("bash", { args, cwd: folder.path });
    const lines = stdout.trimEnd().split("\n").map((line) => line.split("\t").filter(Boolean).toSorted());
    assert.deepEqual(lines, [
      ...COMPLETED.map(([, to]) => to),
      ["debug", "error", "info", "warn"],
      ["debug"],
      ["complete -F _postern postern"],
    ]);
  },
});

Deno.test({
  name: "fish completes commands, options, their values and files",
  ignore: !granted("run", "write", "env") || !hasProgram("fish"),
  async fn() {
    await using folder = await files();
    const script = `${folder.path}/.completions`;
    await Deno.writeTextFile(script, SCRIPTS.fish);
    const asked = COMPLETED.map(([words]) => `echo :; complete -C ${quote(["postern", ...words].join(" "))}`);
    const args = ["--no-config", "-c", [`source ${script}`, ...asked].join("; ")];
    // As root it makes itself a home where there is none.
    await using home = await temporaryFolder();
    const { stdout } = await runOrThrow("fish", { args, cwd: folder.path, env: { HOME: home.path } });
    const answers = stdout.split(":\n").slice(1).map((answer) =>
      answer.split("\n").filter(Boolean).map((line) => line.replace(/\t.*/, "").replaceAll("\\", ""))
        .toSorted()
    );
    assert.deepEqual(answers, COMPLETED.map(([, to]) => to));
  },
});

Deno.test({
  name: "zsh takes its completion script",
  ignore: !granted("run", "write", "env") || !hasProgram("zsh"),
  async fn() {
    await using folder = await files();
    await Deno.writeTextFile(`${folder.path}/_postern`, SCRIPTS.zsh);
    const zsh = "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; " +
      "autoload -Uz +X _postern; print -r -- $_comps[postern]; source ./_postern; functions _postern_token_create";
    const { stdout } = await runOrThrow("zsh", { args: ["-f", "-c", zsh], cwd: folder.path });
    assert.match(stdout, /^_postern\n_postern_token_create \(\) \{\n/);
  },
});

async function files(): Promise<Awaited<ReturnType<typeof temporaryFolder>>> {
  const folder = await temporaryFolder();
  for (const name of ["one file", "other"]) await Deno.writeTextFile(`${folder.path}/${name}`, "");
  return folder;
}

function quote(word: string): string {
  return `'${word}'`;
}
