// After an upgrade of the server this page is of the version before. It reloads as soon as nobody notices.
import { at } from "./entry";

/** Whether the server has another version of this page. */
export const upgrade = $state({ isDue: false });

/** When this tab has reloaded for an upgrade, in milliseconds since 1970. */
const RELOADED = "ticketwire:reloaded";
/** While nodes of both versions answer, a page reloads at most this often. */
const PAUSE_MS = 60_000;
/** What a reload would interrupt, such as uploads. */
const busy = new Set<object>();

/** Returns the address of the script that a page begins with. */
const entryOf = (page: Document): string | null => page.querySelector("script[type=module]")?.getAttribute("src") ?? null;

/** Asks the server for its version of this page, and reloads when nothing is interrupted if it is another one. */
export async function checkVersion(): Promise<void> {
  try {
    const response = await fetch(at(), { headers: { accept: "text/html" }, cache: "no-cache" });
    const entry = /<script type="module"[^>]* src="([^"]+)"/.exec(await response.text())?.[1];
    if (response.ok && entry && entry !== entryOf(document)) upgrade.isDue = true;
  } catch {
    // The next time that the line is up.
  }
  reloadIfDue();
}

/** Marks something that a reload would interrupt. Returns a function that unmarks it. */
export function keepPage(): () => void {
  const mark = {};
  busy.add(mark);
  return () => {
    busy.delete(mark);
    reloadIfDue();
  };
}

/**
 * Marks something that is lost with the page: the browser also asks before it leaves it. Returns a
 * function that unmarks it.
 */
export function guardPage(): () => void {
  const release = keepPage();
  const ask = (event: Event): void => event.preventDefault();
  addEventListener("beforeunload", ask);
  return () => {
    removeEventListener("beforeunload", ask);
    release();
  };
}

/** Reloads if that is due, unless it would disturb: what is stored as a draft is there again. */
export function reloadIfDue(): void {
  if (!upgrade.isDue || busy.size > 0 || isWriting()) return;
  const last = Number(sessionStorage.getItem(RELOADED) ?? 0);
  if (Date.now() - last < PAUSE_MS) return;
  sessionStorage.setItem(RELOADED, String(Date.now()));
  location.reload();
}

/** Whether a field has the focus of a reader, or a text that is not stored as a draft. */
function isWriting(): boolean {
  const isFocused = !document.hidden && document.activeElement?.matches("input, textarea, select");
  const fields = document.querySelectorAll<HTMLInputElement>("input:not([type=checkbox], [data-kept])");
  return isFocused || [...fields].some(({ value, readOnly }) => value !== "" && !readOnly);
}

/** Follows what makes a reload necessary or possible. */
export function followUpgrades(): void {
  document.addEventListener("visibilitychange", reloadIfDue);
  // The new server no longer has the parts of this page.
  addEventListener("vite:preloadError", () => void checkVersion());
}
