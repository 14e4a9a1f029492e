import type { Row } from "./documents";

/** What a list shows, and where in it the row is that must not move. */
export interface Arranged {
  rows: Row[];
  /** The index of the held row, or -1 if none is held. */
  index: number;
}

/**
 * Returns the rows of a list in which the row under the pointer or the focus keeps its place: it
 * stays after the row that it was shown after, even if it has left the list or moved within it.
 */
export function arrange(shown: Row[], rows: Row[], held: string | null): Arranged {
  const was = shown.findIndex(({ id }) => id === held);
  if (was < 0) return { rows, index: -1 };
  const row = rows.find(({ id }) => id === held) ?? shown[was]!;
  const others = rows.filter(({ id }) => id !== held);
  const places = new Map(others.map(({ id }, index) => [id, index]));
  const before = shown.slice(0, was).findLast(({ id }) => places.has(id));
  const index = before ? places.get(before.id)! + 1 : 0;
  return { rows: [...others.slice(0, index), row, ...others.slice(index)], index };
}
