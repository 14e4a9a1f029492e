/** Whether the websocket is connected. What a page shows may be outdated while it is not. */
export const line = $state({ isUp: true });
