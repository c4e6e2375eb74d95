import type { Child } from "hono/jsx";
import { Document } from "./layout.tsx";

/** What was wrong with the last attempt. */
export type LoginFault = "wrong" | "missing" | "blocked";

const FAULTS: Readonly<Record<LoginFault, string>> = {
  wrong: "This is not the admin token.",
  missing: "Enter the admin token.",
  blocked: "Too many wrong tokens from your address. Wait a minute, then try again.",
};

export function LoginPage(
  { fault, next }: { readonly fault?: LoginFault | undefined; readonly next: string },
): Child {
  return (
    <Document title="Log in">
      <main class="login">
        <h1>Postern</h1>
        <form method="post" action="/login">
          {fault && <p id="fault" class="alert" role="alert">{FAULTS[fault]}</p>}
          <input type="hidden" name="next" value={next} />
          <label for="token">Admin token</label>
          <input
            id="token"
            name="token"
            type="password"
            autocomplete="current-password"
            required
            autofocus
            {...(fault && { "aria-invalid": "true", "aria-describedby": "fault" })}
          />
          <button type="submit">Log in</button>
        </form>
        <p class="unit">It stands in the gateway's config, as admin.token.</p>
      </main>
    </Document>
  );
}

/** Something that cannot be shown. */
export function FaultPage({ title, message }: { readonly title: string; readonly message: string }): Child {
  return (
    <Document title={title}>
      <main class="login">
        <h1>{title}</h1>
        <p>{message}</p>
        <p>
          <a href="/">Overview</a>
        </p>
      </main>
    </Document>
  );
}
