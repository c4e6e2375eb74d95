import assert from "node:assert/strict";
import { AcmeCache, MAX_CERTIFICATES } from "../../../core/acme/cache.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { createCertificate } from "../../support/certificates.ts";
import { granted } from "../../support/permissions.ts";
import { temporaryFolder } from "../../support/processes.ts";

const ignore = !granted("read", "write", "env");
const DIRECTORY = "https://acme.example.com:8443/directory";
const NAME = "*.example.com";

async function open(folder: string, events: LogEvent[] = []) {
  const cache = await AcmeCache.open(
    folder,
    DIRECTORY,
    createLog("acme", "debug", (event) => events.push(event)),
  );
  const [own] = await Array.fromAsync(Deno.readDir(folder));
  return {
    cache,
    events,
    own: `${folder}/${own?.name}`,
    certificates: `${folder}/${own?.name}/certificates`,
  };
}

async function bundle() {
  const { certificate, key } = await createCertificate(NAME);
  return { certPem: certificate, keyPem: key };
}

Deno.test({
  name: "what the cache is given it gives back after a restart, and to nobody else",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/deep/cache`;
    const { cache, certificates, own } = await open(path);
    const account = { key: "-----BEGIN PRIVATE KEY-----", url: "https://acme.example.com/1", email: "a@b.c" };
    const failure = { count: 2, error: "No", nextAttempt: 5 };
    await cache.writeAccount(account);
    await cache.writeFailures(new Map([["a.example.com", failure]]));
    const written = await cache.writeCertificate(NAME, await bundle());
    const again = await open(path);
    assert.deepEqual(await again.cache.readAccount(), account);
    assert.deepEqual([...await again.cache.readFailures()], [["a.example.com", failure]]);
    assert.deepEqual(await again.cache.readCertificates(), [written]);
    assert.ok(written.notBefore < Date.now());
    const modes: Record<string, number> = {};
    for (
      const one of ["", "/account.json", "/failures.json", "/certificates", "/certificates/_.example.com.pem"]
    ) {
      modes[one] = (await Deno.stat(own + one)).mode! & 0o777;
    }
    assert.deepEqual(modes, {
      "": 0o700,
      "/account.json": 0o600,
      "/failures.json": 0o600,
      "/certificates": 0o700,
      "/certificates/_.example.com.pem": 0o600,
    });
    assert.deepEqual((await Array.fromAsync(Deno.readDir(certificates))).map(({ name }) => name), [
      "_.example.com.pem",
    ]);
  },
});

Deno.test({
  name: "each directory has a folder of its own: staging's certificates are not production's",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { cache } = await open(folder.path);
    await cache.writeCertificate(NAME, await bundle());
    const other = await AcmeCache.open(
      folder.path,
      `${DIRECTORY}?other`,
      createLog("acme", "debug", () => {}),
    );
    assert.deepEqual(await other.readCertificates(), []);
    assert.equal(await other.readAccount(), undefined);
  },
});

const damages: readonly { what: string; file: string; text: string }[] = [
  { what: "a certificate that was cut off", file: "certificates/_.example.com.pem", text: "-----BEGIN PRIV" },
  { what: "an empty certificate", file: "certificates/_.example.com.pem", text: "" },
  { what: "a certificate of megabytes", file: "certificates/_.example.com.pem", text: "x".repeat(2 ** 20) },
  { what: "an account that is no JSON", file: "account.json", text: "{" },
  { what: "an account without a key", file: "account.json", text: '{"url":"https://a.b/1"}' },
  { what: "failures that are a list", file: "failures.json", text: "[1]" },
  { what: "failures without numbers", file: "failures.json", text: '{"a.b":{"count":"x"}}' },
];
for (const { what, file, text } of damages) {
  Deno.test({
    name: `a cache file that can't be read is set aside, and said: ${what}`,
    ignore,
    async fn() {
      await using folder = await temporaryFolder();
      const { cache, own, events } = await open(folder.path);
      await Deno.writeTextFile(`${own}/${file}`, text);
      assert.equal(await cache.readAccount(), undefined);
      assert.deepEqual(await cache.readCertificates(), []);
      assert.equal((await cache.readFailures()).size, 0);
      assert.deepEqual(events.map(({ event }) => event), ["acme_cache_file_set_aside"]);
      assert.equal(events[0]?.fields["file"], `${own}/${file}`);
      const aside = String(events[0]?.fields["as"]);
      assert.match(aside, /\.bad-\d+$/);
      assert.equal(await Deno.readTextFile(aside), text);
      await assert.rejects(Deno.stat(`${own}/${file}`), Deno.errors.NotFound);
    },
  });
}

Deno.test({
  name: "a certificate of another name, or with another's key, is not taken",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { cache, certificates, events } = await open(folder.path);
    const [one, other] = [await bundle(), await bundle()];
    await assert.rejects(cache.writeCertificate("a.example.org", one), /It is for \*\.example\.com/);
    await assert.rejects(cache.writeCertificate(NAME, { ...one, keyPem: other.keyPem }), /does not belong/);
    await Deno.writeTextFile(`${certificates}/b.example.com.pem`, `${one.keyPem}\n${one.certPem}`);
    assert.deepEqual(await cache.readCertificates(), []);
    assert.deepEqual(events.map(({ event }) => event), ["acme_cache_file_set_aside"]);
    assert.equal(JSON.stringify(events).includes(one.keyPem.split("\n")[1] ?? "?"), false);
  },
});

Deno.test({
  name: "a file that can't be read now stays where it is, and nothing is made anew for that",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { cache, own, events } = await open(folder.path);
    for (const file of ["account.json", "failures.json"]) await Deno.symlink(file, `${own}/${file}`); // an endless path
    await assert.rejects(cache.readAccount(), /^Error: Cannot read ".*account\.json": /);
    await assert.rejects(cache.readFailures(), /^Error: Cannot read ".*failures\.json": /);
    assert.equal((await Deno.lstat(`${own}/account.json`)).isSymlink, true);
    assert.deepEqual(events, []);
    await cache.dropAccount();
    await cache.dropAccount(); // somebody else was faster
    assert.deepEqual(events.map(({ event }) => event), ["acme_cache_file_set_aside"]);
  },
});

Deno.test({
  name: "of too many certificates the latest are taken, and those that are forgotten are gone",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { cache, certificates } = await open(folder.path);
    await cache.writeCertificate(NAME, await bundle());
    for (let i = 0; i < MAX_CERTIFICATES; i++) {
      Deno.writeTextFileSync(`${certificates}/n${i}.example.com.pem`, "");
      Deno.utimeSync(`${certificates}/n${i}.example.com.pem`, 1000, 1000);
    }
    assert.deepEqual((await cache.readCertificates()).map(({ name }) => name), [NAME]);
    assert.equal(
      Array.from(Deno.readDirSync(certificates)).filter(({ name }) => name.endsWith(".pem")).length,
      2,
    );
    await cache.removeCertificate(NAME);
    await cache.removeCertificate(NAME);
    assert.deepEqual((await cache.readCertificates()).map(({ name }) => name), []);
  },
});

Deno.test({
  name: "a cache that is opened beside one at work takes nothing from it",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { cache } = await open(folder.path);
    const failure = { count: 1, error: "x".repeat(400), nextAttempt: 5 };
    const failures = new Map(Array.from({ length: 2000 }, (_, i) => [`n${i}.example.com`, failure]));
    const writing = Array.from({ length: 5 }, () => cache.writeFailures(failures));
    let isOver = false;
    const writes = Promise.all(writing).finally(() => isOver = true);
    while (!isOver) await open(folder.path);
    await writes;
    assert.deepEqual(await cache.readFailures(), failures);
  },
});

Deno.test({
  name: "what a crash left half written is removed",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { own, certificates } = await open(folder.path);
    await Deno.writeTextFile(`${certificates}/x.pem.1.new`, "half");
    await Deno.writeTextFile(`${own}/account.json.1.new`, "half");
    await open(folder.path);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(certificates)), []);
    assert.deepEqual((await Array.fromAsync(Deno.readDir(own))).map(({ name }) => name), ["certificates"]);
  },
});
