import { z } from "zod";
import { messageOf } from "../errors.ts";
import { parseNamePattern } from "../names.ts";

/**
 * A name, a wildcard for one label such as `*.example.com`, or `*` for every name; comes out in its canonical form,
 * for `parseNamePattern`. Two texts for the same pattern come out equal.
 */
export function namePattern(): z.ZodType<string, string> {
  return z.string().transform((raw, context) => {
    try {
      return parseNamePattern(raw).text;
    } catch (error) {
      context.addIssue({ code: "custom", message: messageOf(error) });
      return z.NEVER;
    }
  });
}
