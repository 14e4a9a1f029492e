// The ticket that the tabs of the tour work on: one of the demo data, until the user opens one.

import * as notices from "./notices.js";

const KEY = "ticketwire:tour";

const listeners = [];
// `knownIds` are the ids that may be replaced in variables: those that the page put there.
let state = JSON.parse(sessionStorage.getItem(KEY) ?? "null") ?? { knownIds: [] };

/** The ticket that the user opened, or undefined. */
export const ticket = () => state.ticket;

/** Calls `listener` when the ticket changes. */
export const onChange = (listener) => listeners.push(listener);

function setState(next) {
  state = next;
  sessionStorage.setItem(KEY, JSON.stringify(state));
  listeners.forEach((listener) => listener());
}

/** Collects the ids of the tickets in the operations' variables. */
export function begin(operations) {
  const ids = operations.flatMap(({ variables }) => [...variables.matchAll(/"ticketId": "([^"]+)"/g)]);
  const knownIds = new Set([...ids.map(([, id]) => id), ...state.knownIds]);
  state = { ...state, knownIds: [...knownIds] };
}

/** Makes the tabs work on a ticket that was just opened. */
export function useTicket({ id, number }) {
  setState({ knownIds: [...new Set([...state.knownIds, id])], ticket: { id, number } });
  notices.showBriefly("ticket", "good", `${number} is open. The next tabs work on it.`);
}

/** Makes the tabs work on the ticket of the demo data again. */
export const forget = () => setState({ knownIds: state.knownIds });

/** Returns the variables with the id of the current ticket in place of the known ids. */
export function withTicket(variables) {
  const id = state.ticket?.id ?? state.knownIds[0];
  return state.knownIds.reduce((text, known) => text.replaceAll(`"${known}"`, `"${id}"`), variables);
}
