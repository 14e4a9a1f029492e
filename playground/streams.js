// Live streams. Each belongs to a tab of the editor and keeps running when another tab is active.
// A stream resumes from its last cursor: its `after` variable is set to the cursor of each
// event once the event has been processed, and graphql-ws sends the same variables object
// when it reconnects.

import * as link from "./link.js";
import { isUnauthenticated } from "./request.js";
import * as session from "./session.js";

const MAX_MESSAGES = 200;

const streams = new Map();
const listeners = [];

/** The streams, oldest first. */
export const all = () => [...streams.values()];

/** The stream of a tab. */
export const of = (tab) => streams.get(tab);

/** Calls `listener` with each stream that changes or is removed. */
export const onChange = (listener) => listeners.push(listener);

const changed = (stream) => listeners.forEach((listener) => listener(stream));

/** Starts the stream of a tab and replaces an earlier one. */
export function begin(tab, name, operation, after) {
  close(tab);
  const stream = { tab, name, operation, after, messages: [], count: 0, watchers: new Set() };
  streams.set(tab, stream);
  connect(stream);
  return stream;
}

/** Ends the stream of a tab and removes it. */
export function close(tab) {
  const stream = streams.get(tab);
  if (!stream) return;
  streams.delete(tab);
  stream.cancel?.();
  settle(stream, "ended");
}

/** Restarts a stopped stream from its last cursor. */
export function resume(stream) {
  stream.cancel?.();
  connect(stream);
}

function connect(stream) {
  const current = {};
  stream.current = current;
  // Ignores the sinks of earlier connections.
  const ifCurrent = (act) => (value) => stream.current === current && act(value);
  const as = session.account();
  // Another account must not see these messages.
  if (as?.email !== stream.as?.email) Object.assign(stream, { messages: [], count: 0 });
  stream.as = as;
  stream.token = session.token();
  stream.problem = undefined;
  stream.state = link.state() === "open" ? "live" : "connecting";
  stream.cancel = link.subscribe(stream.operation, {
    next: ifCurrent((result) => receive(stream, result)),
    error: ifCurrent((error) => fail(stream, error)),
    complete: ifCurrent(() => settle(stream, "ended")),
  });
  changed(stream);
}

function receive(stream, result) {
  if (isUnauthenticated(result.errors)) return fail(stream, result.errors);
  const message = result.data && Object.values(result.data)[0];
  stream.count += 1;
  stream.messages.unshift({ at: new Date(), message, result });
  stream.messages.length = Math.min(stream.messages.length, MAX_MESSAGES);
  stream.watchers.forEach((watcher) => watcher.next(view(stream)));
  // Last, because an event is processed once it has been shown.
  if (message?.cursor && stream.after) stream.operation.variables[stream.after] = message.cursor;
  changed(stream);
}

function fail(stream, error) {
  const needsSession = isUnauthenticated(error);
  if (!needsSession && !link.isBroken(error)) {
    stream.problem = error.map(({ message }) => message).join(" ");
    return settle(stream, "failed", { errors: error });
  }
  // The stream resumes with the next session or on the next connection.
  stream.current = stream.cancel = undefined;
  stream.state = needsSession ? "waiting" : "connecting";
  if (needsSession) stream.watchers.forEach((watcher) => watcher.next({ errors: error }));
  changed(stream);
  if (needsSession) session.expire(stream.token);
}

/** Sets the final state of a stream, and completes what the editor shows of it. */
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

/** The result that the response pane shows. GraphiQL shows one result, so it has all messages. */
function view({ count, messages }) {
  const summary = count === 1 ? "1 message" : `${count} messages, newest first`;
  return { live: summary, messages: messages.map(({ result }) => result.data ?? result) };
}

/** The observable of a stream for GraphiQL. Calls `onStop` when GraphiQL stops reading. */
export function observe(stream, onStop) {
  return {
    subscribe(watcher) {
      stream.watchers.add(watcher);
      watcher.next(stream.count ? view(stream) : { live: "Waiting for the first message…" });
      return {
        unsubscribe() {
          stream.watchers.delete(watcher);
          onStop();
        },
      };
    },
  };
}

link.onChange((state, isReopened) => {
  for (const stream of all()) {
    if (stream.state === "ended" || stream.state === "failed") continue;
    if (isReopened && session.token()) connect(stream);
    else if (isReopened) Object.assign(stream, { state: "waiting", current: undefined, cancel: undefined });
    else if (stream.state !== "waiting") stream.state = state === "open" ? "live" : "connecting";
    changed(stream);
  }
});
