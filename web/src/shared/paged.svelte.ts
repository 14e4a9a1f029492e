import { sentence } from "./errors";

/** A page of a connection. */
interface Page<T> {
  nodes: readonly T[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** A list that is read page by page. */
export class Paged<T> {
  nodes = $state.raw<readonly T[]>([]);
  /** Where the next page begins, or null after the last one. */
  next = $state<string | null>(null);
  /** Why the last page was not read. */
  failure = $state("");

  constructor(readonly read: (after: string | null) => Promise<Page<T> | null | undefined>) {}

  /** Reads the next page. */
  async more(): Promise<void> {
    const after = this.next;
    try {
      const page = await this.read(after);
      // A second click asks for the same page.
      if (after !== this.next) return;
      this.failure = "";
      this.nodes = [...this.nodes, ...(page?.nodes ?? [])];
      this.next = page?.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
    } catch (error) {
      this.failure = sentence(error);
    }
  }
}
