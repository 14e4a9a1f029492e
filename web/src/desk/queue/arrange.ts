import type { Row } from "./documents";

/** What a list shows, and where in it the row is that must not move. */
export interface Arranged {
  rows: Row[];
  /** The index of the held row, or -1 if none is held. */
  index: number;
}

/**
 * Returns the rows of a list in which the row under the pointer or the focus keeps its place between
 * those that it was shown between, even if it has left the list or moved within it.
 */
export function arrange(shown: Row[], rows: Row[], held: string | null): Arranged {
  const was = shown.findIndex(({ id }) => id === held);
  if (was < 0) return { rows, index: -1 };
  const natural = rows.findIndex(({ id }) => id === held);
  const others = rows.filter(({ id }) => id !== held);
  const places = new Map(others.map(({ id }, index) => [id, index]));
  const placeOf = (row: Row | undefined) => row && places.get(row.id);
  const after = (placeOf(shown.slice(0, was).findLast(({ id }) => places.has(id))) ?? -1) + 1;
  const before = placeOf(shown.slice(was + 1).find(({ id }) => places.has(id))) ?? others.length;
  const index = Math.max(after, Math.min(natural < 0 ? after : natural, before));
  return { rows: [...others.slice(0, index), rows[natural] ?? shown[was]!, ...others.slice(index)], index };
}
