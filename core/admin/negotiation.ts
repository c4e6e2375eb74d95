import type { Context } from "hono";

/** Whether a browser asks, and a page is what it is after. Programs that take anything get what they always got. */
export function wantsPage(c: Context): boolean {
  return /(?:^|,)\s*text\/html\s*(?:[;,]|$)/i.test(c.req.header("accept") ?? "");
}
