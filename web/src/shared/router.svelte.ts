// A router over the history API. The address is the state: back, forward and reload keep the place.
import { upgrade } from "./upgrade.svelte";

/** The address that is shown. */
export const route = $state({ path: location.pathname, search: location.search });

/** How far the page was scrolled when it was left, until it is shown again. */
let scrolled = 0;

/** What is asked before back or forward leaves a page, the newest last. */
const guards = new Set<() => boolean>();

/** The place of the address in the history of this tab. */
let place = 0;
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
  if (!replace) place += 1;
  history[replace ? "replaceState" : "pushState"]({ place }, "", to);
  read();
}

/** Scrolls to the place where the reader has left this page. Call it when its content is shown. */
export function returnToPlace(): void {
  if (scrolled) scrollTo(0, scrolled);
  scrolled = 0;
}

function keepPlace(): void {
  history.replaceState({ scrolled: scrollY, place }, "");
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
  const recall = (state: { scrolled?: number } | null) => (scrolled = state?.scrolled ?? 0);
  recall(history.state as never);
  place = (history.state as { place?: number } | null)?.place ?? 0;
  const number = () => history.replaceState({ ...(history.state as object | null), place }, "");
  number();
  addEventListener("popstate", ({ state }) => {
    if (isReturning) return void (isReturning = false);
    // A link to a part of the page has added it.
    const to: number = state?.place ?? place + 1;
    const [mayLeave, below] = [...guards].reverse();
    // What lies below the newest dialog is not left with it.
    if (to !== place && mayLeave && (!mayLeave() || below)) {
      isReturning = true;
      return history.go(place - to);
    }
    place = to;
    if (!state) number();
    recall(state as never);
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
