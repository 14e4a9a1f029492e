// The websocket's code is loaded when the first page needs it, not with the first visit.
const live = () => import("./live");

/** Loads the websocket's code. */
export { live };

/** Closes the websocket if there is one. */
export function hangUpLater(): void {
  void live().then(({ hangUp }) => hangUp());
}
