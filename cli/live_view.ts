/** What a live view needs of the terminal; a test has its own. */
export interface TerminalPort {
  write(text: string): void;
  size(): { readonly columns: number; readonly rows: number };
  /** Calls back when the size has changed. @returns Ends that. */
  onResize(changed: () => void): () => void;
}

/** The terminal that standard output is. */
export const TERMINAL: TerminalPort = {
  write(text) {
    const bytes = new TextEncoder().encode(text);
    for (let offset = 0; offset < bytes.length;) offset += Deno.stdout.writeSync(bytes.subarray(offset));
  },
  size: () => Deno.consoleSize(),
  onResize(changed) {
    if (Deno.build.os === "windows") return () => {}; // no such signal: the next redraw finds out
    Deno.addSignalListener("SIGWINCH", changed);
    return () => Deno.removeSignalListener("SIGWINCH", changed);
  },
};

/** The alternate screen, without a cursor, and without a line that is too long going on in the next. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l", LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H", CLEAR_LINE = "\x1b[K", CLEAR_BELOW = "\x1b[J";
/** Redraws are at least so far apart, in milliseconds: faster is for nobody's eyes. */
const REDRAW_MS = 100;

type Render = (size: { readonly columns: number; readonly rows: number }) => readonly string[];

/** Shows lines on the whole terminal, and shows them again when they have changed. */
export class LiveView implements Disposable {
  readonly #terminal: TerminalPort;
  readonly #render: Render;
  readonly #forgetResize: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #shown = "";

  constructor(render: Render, terminal: TerminalPort = TERMINAL) {
    this.#render = render;
    this.#terminal = terminal;
    terminal.write(ENTER);
    this.#forgetResize = terminal.onResize(() => {
      this.#shown = "";
      this.changed();
    });
    this.#draw();
  }

  /** There is something new to show; many of these make one redraw. */
  changed(): void {
    this.#timer ??= setTimeout(() => this.#draw(), REDRAW_MS);
  }

  #draw(): void {
    this.#timer = undefined;
    const lines = this.#render(this.#terminal.size());
    // Written over what is there, in one write: nothing is cleared that is not written anew at once.
    const screen = HOME + lines.map((line) => line + CLEAR_LINE).join("\r\n") + CLEAR_BELOW;
    if (screen === this.#shown) return;
    this.#shown = screen;
    this.#terminal.write(screen);
  }

  /** Gives the terminal back as it was. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#forgetResize();
    this.#terminal.write(LEAVE);
  }
}
