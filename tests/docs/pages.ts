const ROOT = new URL("../../", import.meta.url);

/** A page for people who use the gateway. */
export interface Page {
  /** From the root of the repository: `docs/cli.md`. */
  readonly path: string;
  readonly text: string;
}

/** The README and every page below `docs/`. */
export async function pages(): Promise<Page[]> {
  const paths = ["README.md", ...await below("docs/")];
  return await Promise.all(paths.map(async (path) => ({ path, text: await readPage(path) })));
}

/** @param path From the root of the repository. */
export async function readPage(path: string): Promise<string> {
  return await Deno.readTextFile(new URL(path, ROOT));
}

async function below(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(new URL(folder, ROOT)));
  const found = await Promise.all(entries.map(({ name, isDirectory }) => {
    if (isDirectory) return below(`${folder}${name}/`);
    return name.endsWith(".md") ? [`${folder}${name}`] : [];
  }));
  return found.flat().toSorted();
}
