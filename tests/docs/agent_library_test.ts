import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { can } from "../e2e/can.ts";
import { readToEnd } from "../support/echo.ts";
import { denoEnvironment, startProgram } from "../support/processes.ts";
import { DOMAIN, ENDPOINT, Tunnels } from "../support/tunnels.ts";
import { blocks } from "./blocks.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const PAGE = `${ROOT}docs/agent-library.md`;

/** The program of the page as it stands, in a folder of its own. */
async function writeExample(folder: string): Promise<void> {
  const page = await Deno.readTextFile(PAGE);
  const [settings = ""] = blocks(page, "json");
  const [program = ""] = blocks(page, "ts");
  assert.deepEqual(JSON.parse(settings), { links: ["./postern"] });
  await Deno.symlink(ROOT, `${folder}/postern`);
  await Deno.writeTextFile(`${folder}/deno.json`, settings);
  await Deno.writeTextFile(`${folder}/hello.ts`, program);
}

/** Sends one request to `hello`. @returns All that is answered. */
async function ask(tunnels: Tunnels, head: string, body = ""): Promise<string> {
  using client = await tunnels.connectTls("hello");
  const request = `${head}Host: hello.${DOMAIN}\r\nConnection: close\r\n\r\n${body}`;
  const sending = writeAll(client, new TextEncoder().encode(request));
  const answer = new TextDecoder().decode(await readToEnd(client));
  await sending;
  return answer;
}

Deno.test({
  name:
    "the program of docs/agent-library.md type-checks, serves with the permissions shown, and stops at SIGTERM",
  ignore: !can(),
  async fn() {
    await using tunnels = await Tunnels.start();
    await using folder = {
      path: await Deno.makeTempDir(),
      async [Symbol.asyncDispose]() {
        await Deno.remove(this.path, { recursive: true });
      },
    };
    await writeExample(folder.path);
    const net = `--allow-net=127.0.0.1:${tunnels.port}`;
    await using program = await startProgram(Deno.execPath(), {
      args: [
        "run",
        "--check",
        "--no-prompt",
        "--no-lock",
        net,
        "--allow-env=POSTERN_GATEWAY,POSTERN_TOKEN",
        "hello.ts",
      ],
      cwd: folder.path,
      env: {
        ...denoEnvironment(),
        NO_COLOR: "1",
        DENO_CERT: await tunnels.caFile(),
        POSTERN_GATEWAY: `wss://${ENDPOINT}:${tunnels.port}`,
        POSTERN_TOKEN: tunnels.tokens.alice,
      },
    });
    const port = () => Number(/^shout is at \S+:(\d+)$/m.exec(program.output)?.[1]);
    await program.waitFor(() => port() > 0, { what: "both addresses", deadlineMs: 60_000 });
    assert.match(program.output, new RegExp(`^hello is at https://hello\\.${DOMAIN}`, "m"));

    const answer = await ask(tunnels, "GET /a HTTP/1.1\r\n");
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*\{"path":"\/a","you":"127\.0\.0\.1"\}/);
    const body = "x".repeat(300_000);
    const echoed = await ask(tunnels, `POST / HTTP/1.1\r\nContent-Length: ${body.length}\r\n`, body);
    const [, chunks = ""] = /\r\n\r\n([^]*)$/.exec(echoed) ?? [];
    assert.equal(chunks.replaceAll(/[^x]/g, "").length, body.length);

    const shout = await tunnels.connect(port());
    await writeAll(shout, new TextEncoder().encode("hello"));
    await shout.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(shout)), "HELLO");
    closeQuietly(shout);

    program.kill("SIGTERM");
    assert.equal((await program.status).code, 0, program.output);
  },
});
