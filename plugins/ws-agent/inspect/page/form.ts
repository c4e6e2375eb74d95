/** Our forms have one field. */
const MAX_FORM_BYTES = 1024;

/** Reads a form that was sent by POST. @returns `undefined` when it is none, or longer than any of ours. */
export async function readForm(request: Request): Promise<URLSearchParams | undefined> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/x-www-form-urlencoded(?:;|$)/i.test(type) || request.body === null) return undefined;
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const bytes of request.body) {
    length += bytes.length;
    if (length > MAX_FORM_BYTES) return undefined;
    text += decoder.decode(bytes, { stream: true });
  }
  return new URLSearchParams(text);
}
