// The ticket that the tabs work on: one of the demo data, until the person opens one.

import * as notices from "./notices.js";

const KEY = "ticketwire:story";

const listeners = [];
let state = JSON.parse(sessionStorage.getItem(KEY) ?? "null") ?? { known: [] };

/** The ticket that the person opened here. */
export const ticket = () => state.ticket;

/** Calls `listener` when the tabs work on another ticket from now on. */
export const onChange = (listener) => listeners.push(listener);

function become(next) {
  state = next;
  sessionStorage.setItem(KEY, JSON.stringify(state));
  listeners.forEach((listener) => listener());
}

/** Learns which tickets the operations come with. */
export function begin(operations) {
  const ids = operations.flatMap(({ variables }) => [...variables.matchAll(/"ticketId": "([^"]+)"/g)]);
  const known = new Set([...ids.map(([, id]) => id), ...state.known]);
  state = { ...state, known: [...known] };
}

/** Has the tabs work on a ticket that was just opened. */
export function opened({ id, number }) {
  become({ known: [...new Set([...state.known, id])], ticket: { id, number } });
  notices.mention("story", "good", `${number} is open: the tabs that follow work on it.`);
}

/** Has the tabs work on the demo data's ticket again. */
export const forget = () => become({ known: state.known });

/** Variables with the ids that the page itself put there moved to the present ticket. */
export function retell(variables) {
  const id = state.ticket?.id ?? state.known[0];
  return state.known.reduce((text, known) => text.replaceAll(`"${known}"`, `"${id}"`), variables);
}
