/** The websocket's state. What a page shows may be outdated while it is not up, or behind. */
export const line = $state({
  isUp: true,
  /** A stream has not reached the present yet. */
  isBehind: false,
});
