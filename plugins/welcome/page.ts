import { createHash } from "node:crypto";

const STYLE = `
:root { color-scheme: light dark; }
body { font: 1.0625rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1.25rem; }
pre { padding: 1rem; overflow-x: auto; border: 1px solid; border-radius: .5rem; }
`;

/** Allows this page's own style and nothing else: no script, no image, no frame, no form. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** @param name The name that the client asked for; anything at all, it is escaped. */
export function htmlPage(name: string): string {
  const shown = escapeHtml(name);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Postern is running</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Postern is running</h1>
<p>You asked for <strong>${shown}</strong>, and no route takes that name yet.</p>
<h2>Route a name to a service</h2>
<p>Start the gateway again with a route:</p>
<pre tabindex="0" aria-label="Command with a route"><code>${escapeHtml(exampleCommand(name))}</code></pre>
<p>Then see what the gateway would do with a connection:</p>
<pre tabindex="0" aria-label="Command"><code>deno task postern explain ${shown}</code></pre>
</main>
</body>
</html>
`;
}

/** The same in plain text, for clients that don't ask for HTML. */
export function textPage(name: string): string {
  return `Postern is running.

You asked for ${name}, and no route takes that name yet.
To route a name to a service, start the gateway again with a route:

${exampleCommand(name)}

Then see what the gateway would do with a connection:

deno task postern explain ${name}
`;
}

/** For text and for quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function exampleCommand(name: string): string {
  const route = `{ sni: ${name}, terminate: true, to: "127.0.0.1:3000" }`;
  return `deno task gateway --set 'plugins.static.routes=[${route}]'`;
}
