import { readTicket } from "../shared/ticket/ticket.svelte";

type Reading = { at: number; result: ReturnType<typeof readTicket> };

/** For how long a ticket that was read ahead is shown, in milliseconds. Its stream brings what happened since. */
const FRESH_MS = 60_000;
/** The most tickets that are kept. */
const MOST = 50;

/** For how long the pointer rests on a ticket that somebody may open, in milliseconds. */
const REST_MS = 60;

const ahead = new Map<string, Reading>();
let resting: ReturnType<typeof setTimeout> | undefined;

/** Reads a ticket that somebody is about to open. */
export function prefetch(number: string): void {
  const known = ahead.get(number);
  if (known && Date.now() - known.at < FRESH_MS / 2) return;
  const result = readTicket(number);
  // The page reads it again if this fails.
  result.catch(() => ahead.delete(number));
  ahead.delete(number);
  ahead.set(number, { at: Date.now(), result });
  for (const oldest of ahead.keys()) if (ahead.size > MOST) ahead.delete(oldest);
}

/** Reads a ticket if the pointer rests on it. */
export function prefetchSoon(number: string): void {
  clearTimeout(resting);
  resting = setTimeout(() => prefetch(number), REST_MS);
}

/** Returns a ticket: the one that was read ahead if there is one, once. */
export function takeTicket(number: string): ReturnType<typeof readTicket> {
  const known = ahead.get(number);
  ahead.delete(number);
  return known && Date.now() - known.at < FRESH_MS ? known.result : readTicket(number);
}

/** Forgets all tickets: another person may not see them. */
export function forgetTickets(): void {
  ahead.clear();
}
