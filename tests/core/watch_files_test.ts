import assert from "node:assert/strict";
import { watchFiles } from "../../core/watch_files.ts";
import { granted } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";

const files = { ignore: !granted("read", "write") };
const SETTLE_MS = 20;

/** Runs `body` with a watch on the paths, and what it has called so far. */
async function watching(
  paths: string[],
  body: (changes: () => number) => Promise<void>,
  onChange: () => void | Promise<void> = () => {},
): Promise<void> {
  const controller = new AbortController();
  let changes = 0;
  const watch = watchFiles(paths, () => {
    changes++;
    return onChange();
  }, { signal: controller.signal, settleMs: SETTLE_MS });
  try {
    await ready(paths);
    await body(() => changes);
  } finally {
    controller.abort();
    await watch;
  }
}

/** A change before the watch has begun is no change. */
async function ready(paths: string[]): Promise<void> {
  await Promise.all(paths.map((path) => Deno.stat(path).catch(() => undefined)));
  await new Promise((resolve) => setTimeout(resolve, 50));
}

function changed(changes: () => number, count: number): Promise<unknown> {
  return until(() => changes() >= count, { what: () => `${changes()} calls to be ${count}` });
}

Deno.test("A file that is rewritten, replaced by a rename, or removed is a change", files, async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/cert.pem`;
  await Deno.writeTextFile(path, "one");
  await watching([path], async (changes) => {
    await Deno.writeTextFile(path, "another");
    await changed(changes, 1);
    await Deno.writeTextFile(`${folder.path}/new`, "third");
    await Deno.rename(`${folder.path}/new`, path);
    await changed(changes, 2);
    await Deno.remove(path);
    await changed(changes, 3);
  });
});

Deno.test(
  "What has changed since the files were read is a change, and what was there before is none",
  files,
  async () => {
    await using folder = await temporaryFolder();
    const [before, after] = [`${folder.path}/before`, `${folder.path}/after`];
    await Deno.writeTextFile(before, "one");
    const written = Date.now();
    await until(() => Date.now() > written + 50, { what: "the file system's clock to go on, too" });
    const since = Date.now();
    await Deno.writeTextFile(after, "one");
    for (const [path, expected] of [[before, 0], [after, 1]] as const) {
      const controller = new AbortController();
      let changes = 0;
      const { signal } = controller;
      const watch = watchFiles([path], () => void changes++, { signal, settleMs: SETTLE_MS, since });
      await ready([path]);
      controller.abort();
      await watch;
      assert.equal(changes, expected);
    }
  },
);

Deno.test("A link that is turned to other files is a change (Kubernetes, certbot)", files, async () => {
  await using folder = await temporaryFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  for (const version of ["v1", "v2"]) {
    await Deno.mkdir(at(version));
    await Deno.writeTextFile(at(`${version}/tls.crt`), version);
  }
  await Deno.symlink("v1", at("..data"));
  await Deno.symlink("..data/tls.crt", at("tls.crt"));
  await watching([at("tls.crt")], async (changes) => {
    await Deno.symlink("v2", at("..data_tmp"));
    await Deno.rename(at("..data_tmp"), at("..data"));
    await changed(changes, 1);
    // The folder behind the link is watched too, and now it is another one.
    await Deno.writeTextFile(at("v2/tls.crt"), "v2, renewed in place");
    await changed(changes, 2);
  });
});

Deno.test("Other files in the folder are no change, however busy they are", files, async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/cert.pem`;
  await Deno.writeTextFile(path, "one");
  await watching([path], async (changes) => {
    for (let i = 0; i < 5; i++) await Deno.writeTextFile(`${folder.path}/log`, `${i}`);
    await Deno.writeTextFile(path, "two");
    const busy = setInterval(() => Deno.writeTextFileSync(`${folder.path}/log`, "x"), 5);
    await changed(changes, 1).finally(() => clearInterval(busy));
    assert.equal(changes(), 1);
  });
});

Deno.test("What changes while a change is being dealt with is another one", files, async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/cert.pem`;
  await Deno.writeTextFile(path, "one");
  let first = true;
  await watching([path], async (changes) => {
    await Deno.writeTextFile(path, "two!");
    await changed(changes, 2);
  }, async () => {
    if (first) await Deno.writeTextFile(path, "three!!");
    first = false;
  });
});

Deno.test(
  "A watch that is ended before it began, or whose folder is missing, ends in peace",
  files,
  async () => {
    await watchFiles(["/nonexistent/cert.pem"], () => assert.fail(), { signal: AbortSignal.abort() });
    await watching(["/nonexistent/cert.pem"], async () => {});
  },
);
