/** How often what somebody sees is read again, in milliseconds. */
const AGAIN_MS = 60_000;
/** Whoever chooses a tab comes back to it by two events within this time, in milliseconds. */
const SAME_MS = 1_000;

/** Calls back when somebody comes back to the page, and once a minute while they see it. Returns a function that stops. */
export function whileSeen(callback: () => void): () => void {
  let last = -Infinity;
  const look = (): void => {
    // The time of day can go back.
    const now = performance.now();
    if (document.hidden || now - last < SAME_MS) return;
    last = now;
    callback();
  };
  const timer = setInterval(look, AGAIN_MS);
  const events = [[document, "visibilitychange"], [window, "focus"]] as const;
  for (const [target, type] of events) target.addEventListener(type, look);
  return () => {
    clearInterval(timer);
    for (const [target, type] of events) target.removeEventListener(type, look);
  };
}
