// Keeps the page up to date. Without it, the page shows what there was when it was loaded.
const LIST = ["summary", "list"];
let isLoading = false;
let isStale = false;

async function refresh() {
  isStale = true;
  if (isLoading) return;
  isLoading = true;
  try {
    while (isStale) {
      isStale = false;
      const response = await fetch(location.href);
      // What is shown may be one of the last no more: it stays, and the list goes on.
      const isGone = response.status === 404;
      const page = isGone ? await fetch("/") : response;
      if (!page.ok) return;
      const fresh = new DOMParser().parseFromString(await page.text(), "text/html");
      for (const id of isGone ? LIST : [...LIST, "exchange"]) {
        replace(document.getElementById(id), fresh.getElementById(id));
      }
    }
  } catch {
    // The command has ended; the browser tries again by itself.
  } finally {
    isLoading = false;
  }
}

// Children, so that what scrolls stays where it is; and the focus stays on what has the same id.
function replace(old, fresh) {
  if (old === null || fresh === null || old.isEqualNode(fresh)) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceChildren(...fresh.childNodes);
  if (focused !== "") document.getElementById(focused)?.focus({ preventScroll: true });
}

const events = new EventSource("/events");
events.addEventListener("changed", refresh);
events.addEventListener("open", refresh); // also after it was lost for a while

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !["j", "k"].includes(event.key)) return;
  const rows = Array.from(document.querySelectorAll("#list a"));
  const focused = rows.indexOf(document.activeElement);
  const at = focused >= 0 ? focused : rows.findIndex((row) => row.ariaCurrent === "page");
  const next = event.key === "j" ? at + 1 : Math.max(0, at - 1);
  rows[Math.min(next, rows.length - 1)]?.focus();
});
