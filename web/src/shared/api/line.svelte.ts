import { untrack } from "svelte";

/** The websocket's state. What a page shows may be outdated while it is not up, or while something is behind. */
export const line = $state({
  isUp: true,
  /** What has not reached the present yet. */
  behind: [] as unknown[],
});

/** Notes whether something that follows a stream, of which there can be several, has not reached the present. */
export function setBehind(owner: unknown, isBehind: boolean): void {
  const behind = untrack(() => line.behind);
  if (behind.includes(owner) === isBehind) return;
  line.behind = isBehind ? [...behind, owner] : behind.filter((other) => other !== owner);
}
