import assert from "node:assert/strict";
import { formatProblem } from "../../../core/config/problem.ts";
import { readConfig } from "../../../core/config/read_config.ts";
import { granted } from "../../support/permissions.ts";

const ignore = !granted("read", "write", "env");
const OPTIONS = { env: () => undefined, declarations: {} };

Deno.test({
  name: "readConfig() reads a file, and says so when there is none, or none that is text",
  ignore,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const lines = async (name: string) => {
        const result = await readConfig(`${folder}/${name}`, OPTIONS);
        return result.ok ? [] : result.problems.map(formatProblem);
      };
      await Deno.writeTextFile(`${folder}/good.yaml`, "\ufefflog: { level: warn }\n");
      await Deno.writeFile(`${folder}/binary.yaml`, Uint8Array.of(0x6c, 0xff, 0xfe));
      const good = await readConfig(`${folder}/good.yaml`, OPTIONS);
      assert.equal(good.ok && good.config.log.level, "warn");
      assert.deepEqual(await lines("none.yaml"), [`${folder}/none.yaml: There is no such file`]);
      assert.deepEqual(await lines("binary.yaml"), [`${folder}/binary.yaml: Not UTF-8 text`]);
      const [folderItself = ""] = await lines("");
      assert.match(folderItself, /^.*\/: Can't be read: /);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
