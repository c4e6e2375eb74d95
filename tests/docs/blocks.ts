/** The code blocks of a page in one language, without their fences. */
export function blocks(page: string, language: string): string[] {
  return Array.from(
    page.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, "gm")),
    ([, code = ""]) => code,
  );
}
