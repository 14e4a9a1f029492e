// A router over the history API. The address is the state: back, forward and reload keep the place.

/** The address that is shown. */
export const route = $state({ path: location.pathname, search: location.search });

function read(): void {
  route.path = location.pathname;
  route.search = location.search;
}

/** Shows another address of this app. */
export function navigate(to: string, { replace = false } = {}): void {
  history[replace ? "replaceState" : "pushState"](null, "", to);
  read();
  if (!replace) scrollTo(0, 0);
}

/** Returns the parameters of the query string. */
export function query(): URLSearchParams {
  return new URLSearchParams(route.search);
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

/** Makes back, forward and links navigate without loading a page. `isOurs` tells which paths are of this app. */
export function start(isOurs: (path: string) => boolean): void {
  addEventListener("popstate", read);
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
