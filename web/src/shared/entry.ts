/** The entry of the app that is open: `base` is what its paths begin with, empty for the portal. */
export const entry = { base: "" };

/** Returns the address of a page of this entry, such as `at("/tickets")`. */
export function at(path = ""): string {
  return entry.base + path || "/";
}
