import type { HeadWriter, RequestHead } from "../../../core/http1/mod.ts";
import { NOT_FORWARDED } from "./fields.ts";
import type { ForwardedLines } from "./forwarded.ts";

/** Writes the head of a request as the service is to get it. */
export function composeRequest(to: HeadWriter, head: RequestHead, lines: ForwardedLines): void {
  to.clear().requestLineOf(head)
    .raw(lines.for(head.fields.get("host") ?? head.authority.host))
    .fieldsOf(head.fields, NOT_FORWARDED);
  if (head.body === "chunked") to.field("Transfer-Encoding", "chunked");
  else if (head.contentLength >= 0) to.field("Content-Length", head.contentLength);
  if (head.expectsContinue) to.field("Expect", "100-continue");
  if (head.upgrade !== undefined) to.field("Connection", "Upgrade").field("Upgrade", head.upgrade);
  else if (head.acceptsTrailers) to.field("Connection", "TE").field("TE", "trailers");
  to.end();
}
