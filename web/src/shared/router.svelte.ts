// A router over the history API. The address is the state: back, forward and reload keep the place.
import { upgrade } from "./upgrade.svelte";

/** The address that is shown. */
export const route = $state({ path: location.pathname, search: location.search });

/** How far the page was scrolled when it was left, until it is shown again. */
let scrolled = 0;

/** What is asked before back or forward leaves a page, the newest last. */
const guards = new Set<() => boolean>();

/** The index of the address in the history of this tab. */
let index = 0;
/** Whether the browser is returning from where it must not go. */
let isReturning = false;

function read(): void {
  route.path = location.pathname;
  route.search = location.search;
}

/** Shows another address of this app. */
export function navigate(to: string, { replace = false } = {}): void {
  // After an upgrade of the server the next page is one of the new portal.
  if (upgrade.isDue && !replace) return location.assign(to);
  if (!replace) {
    keepPlace();
    scrolled = 0;
    scrollTo(0, 0);
  }
  if (!replace) index += 1;
  history[replace ? "replaceState" : "pushState"]({ index }, "", to);
  read();
}

/** Scrolls to the place where the reader has left this page. Call it when its content is shown. */
export function returnToPlace(): void {
  if (scrolled) scrollTo(0, scrolled);
  scrolled = 0;
}

function keepPlace(): void {
  history.replaceState({ scrolled: scrollY, index }, "");
}

/** Returns the address of the current page: path and query string. */
export function address(): string {
  return route.path + route.search;
}

/** Returns the parameters of the query string. */
export function query(): URLSearchParams {
  return new URLSearchParams(route.search);
}

/** Returns a path without escapes, or null if one is malformed: an address may be typed or cut off. */
export function decode(path: string): string | null {
  try {
    return decodeURIComponent(path);
  } catch {
    return null;
  }
}

/** Returns the address of the current path with other parameters; an empty one is left out. */
export function withQuery(changes: Record<string, string>): string {
  const params = query();
  for (const [name, value] of Object.entries(changes)) {
    if (value) params.set(name, value);
    else params.delete(name);
  }
  const text = params.toString();
  return route.path + (text ? `?${text}` : "");
}

/** Has back and forward stay on the page while the newest `mayLeave` returns false. Returns a function that ends this. */
export function guardRoute(mayLeave: () => boolean): () => void {
  guards.add(mayLeave);
  return () => void guards.delete(mayLeave);
}

/** Makes back, forward and links navigate without loading a page. `isOurs` tells which paths are of this app. */
export function start(isOurs: (path: string) => boolean): void {
  history.scrollRestoration = "manual";
  const recall = (state: { scrolled?: number; index?: number } | null, otherwise: number) => {
    scrolled = state?.scrolled ?? 0;
    index = state?.index ?? otherwise;
    if (state?.index === undefined) keepPlace();
  };
  recall(history.state as never, 0);
  addEventListener("popstate", ({ state }) => {
    if (isReturning) return void (isReturning = false);
    // An entry without an index was added by a link to a part of the page.
    const to: number = state?.index ?? index + 1;
    const [mayLeave, below] = [...guards].reverse();
    // What lies below the newest dialog is not left with it.
    if (to !== index && mayLeave && (!mayLeave() || below)) {
      isReturning = true;
      return history.go(index - to);
    }
    recall(state as never, to);
    read();
  });
  // A reload and a page that the browser has dropped return there too.
  addEventListener("pagehide", keepPlace);
  document.addEventListener("click", (event) => {
    const link = (event.target as Element).closest?.("a");
    if (!link || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.hash || !isOurs(link.pathname)) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}
