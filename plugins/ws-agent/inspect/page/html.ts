import type { HtmlEscapedString } from "hono/utils/html";

/** What a component makes: text of HTML in which all that came from elsewhere is escaped. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;
