const LONGEST_MS = 15_000;
const waiting = new Set<() => void>();

/** Returns how long to wait before the next attempt, in milliseconds: longer after each one, 300 to 15,000. */
const lengthAfter = (attempts: number): number => Math.min(LONGEST_MS, 600 * 2 ** attempts) * (0.5 + Math.random() / 2);

/** Waits before the next attempt like `pause`, and to the end: for what the server does not mend by being there. */
export const wholePause = (attempts: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, lengthAfter(attempts)));

/**
 * Waits before the next attempt: longer after each one, 0.3 to 15 seconds, or `seconds` if the
 * server says how long. `endPauses` ends the wait.
 */
export function pause(attempts: number, seconds = 0): Promise<void> {
  const ms = Math.max(seconds * 1000, lengthAfter(attempts));
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      waiting.delete(done);
      resolve();
    }
    waiting.add(done);
  });
}

/** Ends all waits: the server can be reached, or somebody wants something at once. */
export function endPauses(): void {
  for (const done of [...waiting]) done();
}
addEventListener("online", endPauses);
