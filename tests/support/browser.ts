import type { BrowserContextOptions, Page } from "playwright-core";
import { temporaryFolder } from "./processes.ts";
import { findProgram } from "./permissions.ts";

/** Whether Chromium is here, and may be run. */
export const HAS_BROWSER: boolean = findProgram("chromium") !== undefined;

/** A page of a browser, and what its console has said that nobody wants to read there. */
export interface WatchedPage {
  readonly page: Page;
  /** Errors, exceptions, and what the Content-Security-Policy kept from happening. */
  readonly complaints: readonly string[];
}

/** A real browser without a window. */
export class TestBrowser implements AsyncDisposable {
  readonly #newPage: (options: BrowserContextOptions) => Promise<Page>;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    newPage: (options: BrowserContextOptions) => Promise<Page>,
    stack: AsyncDisposableStack,
  ) {
    this.#newPage = newPage;
    this.#stack = stack;
  }

  static async start(): Promise<TestBrowser> {
    await using stack = new AsyncDisposableStack();
    const home = stack.use(await temporaryFolder()).path;
    const { chromium } = await import("playwright-core");
    const browser = await chromium.launch({
      executablePath: findProgram("chromium") ?? "",
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-lcd-text"],
      env: { HOME: home, PATH: Deno.env.get("PATH") ?? "", LANG: "C" },
    });
    stack.defer(() => browser.close());
    const newPage = async (options: BrowserContextOptions) => (await browser.newContext(options)).newPage();
    return new TestBrowser(newPage, stack.move());
  }

  /** A page of a profile of its own: nobody is logged in. */
  async open(options: BrowserContextOptions = {}): Promise<WatchedPage> {
    const page = await this.#newPage(options);
    const complaints: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    return { page, complaints };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
