/** Returns the rows with those of the next page. What has moved meanwhile may be on both. */
export function join<T>(rows: readonly T[], next: readonly T[], key: (row: T) => string): T[] {
  const known = new Set(rows.map(key));
  return [...rows, ...next.filter((row) => !known.has(key(row)))];
}
