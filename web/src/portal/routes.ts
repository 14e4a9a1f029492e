import type { Component } from "svelte";

// Each page is a component without props: it reads the address.
type Page = Promise<{ default: Component }>;

const ROUTES: [RegExp, () => Page][] = [
  [/^\/$/, () => import("./pages/Home.svelte")],
  [/^\/new$/, () => import("./pages/Home.svelte")],
  [/^\/new\/[^/]+$/, () => import("./pages/NewTicket.svelte")],
  [/^\/tickets$/, () => import("./pages/Tickets.svelte")],
  [/^\/tickets\/[^/]+$/, () => import("./pages/Ticket.svelte")],
  [/^\/notifications$/, () => import("./pages/Notifications.svelte")],
  [/^\/account$/, () => import("./pages/Account.svelte")],
  [/^\/sign-in$/, () => import("./pages/SignIn.svelte")],
];

/** Returns whether this app shows a path. The server has other pages of its own. */
export function isOurs(path: string): boolean {
  return ROUTES.some(([pattern]) => pattern.test(path));
}

/** Loads the parts of all pages, so that links also work without a connection. */
export function prefetch(): void {
  for (const [, load] of ROUTES) load().catch(() => {});
}

/** Loads the page of a path. */
export function load(path: string): Page {
  const found = ROUTES.find(([pattern]) => pattern.test(path));
  return found ? found[1]() : import("./pages/NotFound.svelte");
}
