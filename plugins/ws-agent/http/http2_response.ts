import type { OutgoingHttpHeaders } from "node:http2";
import {
  type FieldSet,
  type FieldTable,
  FORBIDDEN_TRAILERS,
  type ResponseHead,
} from "../../../core/http1/mod.ts";
import { NOT_RETURNED } from "./fields.ts";

/** The fields of a response for `respond` and `additionalHeaders` of `node:http2`. */
export function responseFields(head: ResponseHead): OutgoingHttpHeaders {
  const fields = collect(head.fields, NOT_RETURNED);
  fields[":status"] = head.status;
  const mayHaveLength = head.body === "length" ||
    (head.body === "none" && head.status >= 200 && head.status !== 204);
  if (mayHaveLength && head.contentLength >= 0) fields["content-length"] = String(head.contentLength);
  return fields;
}

export function trailerFields(trailers: FieldTable | undefined): OutgoingHttpHeaders {
  return trailers === undefined ? {} : collect(trailers, FORBIDDEN_TRAILERS);
}

/** Several of one name become one with commas (RFC 9110 §5.3), but for cookies. */
function collect(fields: FieldTable, without: FieldSet): OutgoingHttpHeaders {
  const collected: Record<string, string | string[]> = Object.create(null);
  const cookies: string[] = [];
  for (let i = 0; i < fields.count; i++) {
    if (fields.isIn(i, without) || (fields.listed !== undefined && fields.isIn(i, fields.listed))) continue;
    const name = fields.name(i);
    const value = fields.value(i);
    if (name === "set-cookie") cookies.push(value);
    else collected[name] = name in collected ? `${collected[name]}, ${value}` : value;
  }
  if (cookies.length > 0) collected["set-cookie"] = cookies;
  return collected;
}
