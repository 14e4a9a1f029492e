// Live streams. Each belongs to an editor tab and goes on when another tab is looked at.
// A stream resumes from its last cursor: its `after` variable moves with each event, after
// the event was processed, and graphql-ws sends the same variables object when it
// connects again.

import * as link from "./link.js";
import { unauthenticated } from "./request.js";
import * as session from "./session.js";

const KEPT = 200;

const streams = new Map();
const listeners = [];

/** The streams, oldest first. */
export const all = () => [...streams.values()];

/** The stream of a tab. */
export const of = (tab) => streams.get(tab);

/** Calls `listener` with a stream that has changed or is gone. */
export const onChange = (listener) => listeners.push(listener);

const changed = (stream) => listeners.forEach((listener) => listener(stream));

/** Begins a tab's stream, in the place of an earlier one. */
export function begin(tab, name, operation, after) {
  close(tab);
  const stream = { tab, name, operation, after, messages: [], count: 0, watchers: new Set() };
  streams.set(tab, stream);
  connect(stream);
  return stream;
}

/** Ends a tab's stream and forgets it. */
export function close(tab) {
  const stream = streams.get(tab);
  if (!stream) return;
  streams.delete(tab);
  stream.cancel?.();
  settle(stream, "ended");
}

/** Begins a stream that has stopped again, where it stood. */
export function resume(stream) {
  stream.cancel?.();
  connect(stream);
}

function connect(stream) {
  const current = {};
  stream.current = current;
  // A sink of an earlier connection has nothing to say any more.
  const only = (act) => (value) => stream.current === current && act(value);
  const as = session.account();
  // What one account was shown is nothing for the next.
  if (as?.email !== stream.as?.email) Object.assign(stream, { messages: [], count: 0 });
  stream.as = as;
  stream.token = session.token();
  stream.problem = undefined;
  stream.state = link.state() === "open" ? "live" : "connecting";
  stream.cancel = link.subscribe(stream.operation, {
    next: only((result) => receive(stream, result)),
    error: only((error) => fail(stream, error)),
    complete: only(() => settle(stream, "ended")),
  });
  changed(stream);
}

function receive(stream, result) {
  if (unauthenticated(result.errors)) return fail(stream, result.errors);
  const message = result.data && Object.values(result.data)[0];
  stream.count += 1;
  stream.messages.unshift({ at: new Date(), message, result });
  stream.messages.length = Math.min(stream.messages.length, KEPT);
  stream.watchers.forEach((watcher) => watcher.next(view(stream)));
  // Last: an event counts as processed when it has been shown.
  if (message?.cursor && stream.after) stream.operation.variables[stream.after] = message.cursor;
  changed(stream);
}

function fail(stream, error) {
  const refused = unauthenticated(error);
  if (!refused && !link.isBroken(error)) {
    stream.problem = error.map(({ message }) => message).join(" ");
    return settle(stream, "failed", { errors: error });
  }
  // It goes on with the next session, or on the next connection.
  stream.current = stream.cancel = undefined;
  stream.state = refused ? "waiting" : "connecting";
  if (refused) stream.watchers.forEach((watcher) => watcher.next({ errors: error }));
  changed(stream);
  if (refused) session.expire(stream.token);
}

/** Ends what the editor shows of a stream. */
function settle(stream, state, last) {
  stream.state = state;
  stream.current = stream.cancel = undefined;
  for (const watcher of stream.watchers) {
    if (last) watcher.next(last);
    watcher.complete();
  }
  stream.watchers.clear();
  changed(stream);
}

/** What the response pane shows: GraphiQL has room for one result, a stream has many. */
function view({ count, messages }) {
  const order = count === 1 ? "1 message" : `${count} messages, the newest first`;
  return { live: order, messages: messages.map(({ result }) => result.data ?? result) };
}

/** A stream as GraphiQL reads it. `onStop` is called when GraphiQL stops reading. */
export function observe(stream, onStop) {
  return {
    subscribe(watcher) {
      stream.watchers.add(watcher);
      watcher.next(stream.count ? view(stream) : { live: "Waiting for the first message …" });
      return {
        unsubscribe() {
          stream.watchers.delete(watcher);
          onStop();
        },
      };
    },
  };
}

link.onChange((state, reopened) => {
  for (const stream of all()) {
    if (stream.state === "ended" || stream.state === "failed") continue;
    if (reopened && session.token()) connect(stream);
    else if (reopened) Object.assign(stream, { state: "waiting", current: undefined, cancel: undefined });
    else if (stream.state !== "waiting") stream.state = state === "open" ? "live" : "connecting";
    changed(stream);
  }
});
