import type { Context } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { randomText, sameSecret, type Session, SESSION_LIFETIME_MS, type Sessions } from "./sessions.ts";
import type { TokenGate, TokenVerdict } from "./token_gate.ts";

export interface AccessOptions {
  readonly gate: TokenGate;
  readonly sessions: Sessions;
  /** As bound. Browsers send a cookie to every port of a host, so its name tells two gateways apart. */
  readonly port: number;
}

/** Who may see and do what: by the admin token in a header, or by a session that began with it. */
export class Access {
  readonly gate: TokenGate;
  readonly sessions: Sessions;
  readonly #cookie: string;
  /** In the forms of pages that need no session, because there is no token. Only pages of our own can read it. */
  readonly #commonFormToken = randomText();

  constructor({ gate, sessions, port }: AccessOptions) {
    this.gate = gate;
    this.sessions = sessions;
    this.#cookie = `postern-${port}`;
  }

  /** The session that a request belongs to. */
  session(c: Context): Session | undefined {
    const id = this.#id(c);
    return id === undefined ? undefined : this.sessions.find(id);
  }

  /** Begins a session, if the token is right. */
  logIn(c: Context, token: string, source: string): TokenVerdict {
    const verdict = this.gate.checkToken(token === "" ? undefined : token, source);
    if (verdict !== "ok") return verdict;
    this.#end(c);
    const secure = isHttps(c);
    setCookie(c, this.#cookie, this.sessions.begin(), {
      httpOnly: true,
      sameSite: "Strict",
      path: "/",
      maxAge: SESSION_LIFETIME_MS / 1000,
      ...(secure && { secure, prefix: "host" }),
    });
    return verdict;
  }

  logOut(c: Context): void {
    this.#end(c);
    deleteCookie(c, this.#cookie, { path: "/" });
    if (isHttps(c)) deleteCookie(c, this.#cookie, { path: "/", secure: true, prefix: "host" });
  }

  /** What the forms of a page have to carry. */
  formToken(c: Context): string {
    return this.session(c)?.formToken ?? (this.gate.required ? "" : this.#commonFormToken);
  }

  /** Whether a form was made by a page of ours, for this very session. */
  ownForm(c: Context, sent: string): boolean {
    const wanted = this.formToken(c);
    return wanted !== "" && sameSecret(sent, wanted);
  }

  /** What tells whether whoever made this request may go on to listen. */
  permission(c: Context): () => boolean {
    const id = this.#id(c);
    if (id === undefined || this.sessions.find(id) === undefined) return () => true;
    return () => this.sessions.find(id) !== undefined;
  }

  #end(c: Context): void {
    const id = this.#id(c);
    if (id !== undefined) this.sessions.end(id);
  }

  #id(c: Context): string | undefined {
    return getCookie(c, this.#cookie, "host") ?? getCookie(c, this.#cookie);
  }
}

/** The admin side itself speaks plain HTTP; a proxy in front shows in the origin of the page that sends a form. */
function isHttps(c: Context): boolean {
  return c.req.header("origin")?.startsWith("https://") === true;
}
