import assert from "node:assert/strict";
import { everyCommand, MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;

Deno.test({
  name: "the --help of every command shows its options and an example that runs it",
  ignore,
  async fn() {
    const commands = await everyCommand();
    assert.deepEqual(commands.map((command) => command.name()), [
      "access",
      "agent",
      "check",
      "completions",
      "explain",
      "gateway",
      "http",
      "status",
      "tcp",
      "tls",
      "token",
      "udp",
    ]);
    for (const command of commands.flatMap((command) => [command, ...command.commands])) {
      let help = "";
      command.configureOutput({ writeOut: (text) => void (help += text) }).outputHelp();
      const name = command.parent === null ? command.name() : `${command.parent.name()} ${command.name()}`;
      assert.match(help, new RegExp(`^Usage: ${name} `));
      assert.match(help, new RegExp(`^Examples?:\n  deno task (?:postern )?${name}\\b`, "m"), help);
      for (const { long } of command.options) assert.ok(help.includes(`${long}`), `${long} in ${help}`);
    }
    const { code, stdout } = await runHere("--help");
    assert.equal(code, 0);
    assert.match(stdout, /^Examples:\n {2}deno task postern /m);
    for (const command of commands) assert.match(stdout, new RegExp(`^  ${command.name()} `, "m"));
  },
});

const MISTAKES: readonly (readonly [args: readonly string[], says: RegExp])[] = [
  [["nonsense"], /unknown command 'nonsense'/],
  [["gateway", "--nonsense"], /unknown option '--nonsense'/],
  [["check", "too", "much"], /too many arguments/],
  [["completions", "tcsh"], /Allowed choices are bash, zsh, fish, powershell\./],
  [["explain"], /missing required argument 'host'/],
  [["gateway", "--config"], /argument missing/],
  [["gateway", "--threads", "0"], /Expected a whole number from 1 to 64\./],
  [["gateway", "--threads", "1.5"], /Expected a whole number from 1 to 64\./],
  [["gateway", "--threads", "65"], /Expected a whole number from 1 to 64\./],
  [["gateway", "--log-level", "loud"], /Allowed choices are debug, info, warn, error\./],
  [["gateway", "--log-format", "xml"], /Allowed choices are pretty, json\./],
  [
    ["gateway", "--plugins", "nonsense"],
    /"nonsense" is declared neither .*known here: static, cloudflared, mtls-postgres, ws-agent$/m,
  ],
  [["gateway", "--set", "limts.idleTimeout=1s"], /limts/],
  [["explain", "a.example", "--port", "0"], /Expected a port from 1 to 65535\./],
  [["token", "nonsense"], /unknown command 'nonsense'/],
  [["token", "revoke"], /missing required argument 'id'/],
  [["token", "create", "--port", "0"], /Expected a port or a range of ports/],
  [["token", "create", "--port", "2-1"], /Expected a port or a range of ports/],
  [["token", "create", "--subdomain", "a.b"], /Expected one label of a name/],
  [["token", "create", "--hostname", "1.2.3.4"], /is no name to match/],
  [["token", "create", "--protocol", "ssh"], /Allowed choices are http, tcp, tls, udp\./],
  [["token", "create", "--expires", "soon"], /Expected a time such as 30d/],
  [["token", "create", "--expires", "2001-01-01"], /Expected a time to come\./],
  [["token", "create", "--name", "\x1b[31m"], /Expected at most 256 printable characters\./],
  [["explain", "a.example", "--protocol", "udp"], /Allowed choices are tls, postgres, http, ssh\./],
  [["http"], /missing required argument 'target'/],
  [["http", "http://127.0.0.1:3000/path"], /A target is a place and has no path/],
  [["http", "3000", "--name", "a b"], /"a b" is no name/],
  [["http", "3000", "--hostname", "a"], /Expected a full host name/],
  [["http", "3000", "--connections", "17"], /Expected a whole number from 1 to 16\./],
  [["http", "3000", "--inspect", "0.0.0.0:4040"], /Only this machine may see requests/],
  [["http", "3000", "--inspect", "here"], /--inspect \[address\]' argument 'here' is invalid/],
  [["tcp", "22", "--inspect"], /unknown option '--inspect'/],
  [["tls", "443", "--inspect"], /unknown option '--inspect'/],
  [["udp", "53", "--inspect"], /unknown option '--inspect'/],
  [["tcp", "http://127.0.0.1:22"], /Only http services have URLs as targets/],
  [["tcp", "22", "--remote-port", "65536"], /Expected a port from 1 to 65535, or 0 for any\./],
  [["access"], /missing required argument 'service'/],
  [["access", "db", "--local-port", "65536"], /Expected a port from 1 to 65535, or 0 for any\./],
  [["access", "db", "--ttl", "169h"], /Expected a duration such as 30s, 10m or 8h, from 1s to 168h\./],
  [["access", "db", "--ttl", "999ms"], /Expected a duration/],
  [["access", "stop"], /missing required argument 'id'/],
  [["access", "stop", "../x"], /No access "\.\.\/x" runs here/],
  [["tls", "0"], /The port is a number from 1 to 65535/],
];

Deno.test({
  name: "wrong usage ends with 1, says what is wrong on standard error, and starts nothing",
  ignore,
  async fn() {
    for (const [args, says] of MISTAKES) {
      const { code, stdout, stderr } = await runHere(...args);
      assert.deepEqual([code, stdout], [1, ""], `${args.join(" ")}: ${stderr}`);
      assert.match(stderr, says, args.join(" "));
      assert.doesNotMatch(stderr, /\n\s+at /, "no stack");
    }
  },
});
