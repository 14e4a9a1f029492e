import type { Component } from "svelte";
import { decode } from "./router.svelte";

/** A page is a component without props: it reads the address. */
export type Page = Promise<{ default: Component }>;

/** The pages of an entry, by the patterns of their paths. */
export class Routes {
  constructor(readonly table: readonly (readonly [RegExp, () => Page])[]) {}

  /** Returns whether the entry shows a path. The server has other pages of its own. */
  isOurs = (path: string): boolean => this.table.some(([pattern]) => pattern.test(path));

  /** Loads the page of a path. */
  load = (path: string): Page => {
    const found = decode(path) === null ? undefined : this.table.find(([pattern]) => pattern.test(path));
    return found ? found[1]() : import("./pages/NotFound.svelte");
  };

  /** Loads the parts of all pages, so that links also work without a connection. */
  prefetch = (): void => {
    for (const [, load] of this.table) load().catch(() => {});
  };
}
