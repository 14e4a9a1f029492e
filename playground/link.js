// The live connection: one websocket that is always open, so that the page shows at once
// that the server is gone.

import * as notices from "./notices.js";
import { endpoint } from "./request.js";
import * as session from "./session.js";

const SUBJECT = "link";
const LONGEST_WAIT = 15_000;
const PING_EVERY = 10_000;
const PONG_WITHIN = 5_000;
// Close codes for a missing, invalid or ended session.
const SESSION_ENDED = [4401, 4403];

const url = new URL(endpoint);
url.protocol = url.protocol.replace("http", "ws");

const listeners = [];
let client;
let status = "connecting";
// Starts the next attempt without further waiting.
let tryNow = () => {};

/** One of connecting, open, lost and closed. */
export const state = () => status;

/** Calls `listener(state, isReopened)` on each change. After a reopening, streams must subscribe again. */
export const onChange = (listener) => listeners.push(listener);

function setState(next, isReopened = false) {
  status = next;
  listeners.forEach((listener) => listener(next, isReopened));
}

/** Whether an error is about the connection. Errors of an operation are arrays. */
export const isBroken = (error) => !Array.isArray(error);

/** Subscribes on the current connection. */
export const subscribe = (payload, sink) => client.subscribe(payload, sink);

/** Opens the connection with the current session. Replaces an earlier connection. */
export function open() {
  client?.dispose()?.catch(() => {});
  const token = session.token();
  let lostBefore = false;
  let pong;
  const opened = (client = graphqlWs.createClient({
    url: url.href,
    lazy: false,
    connectionParams: token ? { authorization: `Bearer ${token}` } : {},
    retryAttempts: Infinity,
    // Includes errors without a code, which is how browsers report a failed connection.
    // graphql-ws itself gives up on the fatal codes of the protocol.
    shouldRetry: (event) => !SESSION_ENDED.includes(event?.code),
    retryWait: (attempt) => waitForRetry(attempt, () => opened === client),
    keepAlive: PING_EVERY,
    onNonLazyError: (event) => opened === client && onClosed(event, token),
    on: {
      ping: (received) => {
        if (!received) pong = setTimeout(() => opened.terminate(), PONG_WITHIN);
      },
      pong: (received) => received && clearTimeout(pong),
      connected: () => {
        if (opened !== client) return;
        notices.hide(SUBJECT);
        if (lostBefore) notices.showBriefly(SUBJECT, "good", "Reconnected. Live streams have resumed from their last cursor.");
        lostBefore = false;
        setState("open");
      },
      closed: () => {
        clearTimeout(pong);
        if (opened !== client) return;
        lostBefore = true;
        setState("lost");
      },
    },
  }));
  setState("connecting", true);
}

/** Waits before a retry: exponential backoff with jitter, with a countdown in the page. */
function waitForRetry(attempt, isCurrent) {
  const longest = Math.min(LONGEST_WAIT, 500 * 2 ** attempt);
  const until = Date.now() + longest * (0.5 + Math.random() / 2);
  return new Promise((resolve) => {
    const tick = () => {
      // The connection was replaced: it never retries.
      if (!isCurrent()) return clearInterval(timer);
      const left = until - Date.now();
      if (left <= 0) return tryNow();
      const seconds = Math.ceil(left / 1000);
      const text = `The server is not responding. Next attempt in ${seconds} s. Live streams will resume from their last cursor.`;
      notices.show(SUBJECT, "bad", text, [["Try now", () => tryNow()]]);
    };
    tryNow = () => {
      clearInterval(timer);
      resolve();
    };
    const timer = setInterval(tick, 250);
    tick();
  });
}

/** Handles a close without retries. */
function onClosed(event, token) {
  if (SESSION_ENDED.includes(event?.code) && token) return session.expire(token);
  setState("closed");
  const reason = [event?.code, event?.reason].filter(Boolean).join(" ");
  notices.show(SUBJECT, "bad", `The server closed the live connection (${reason}).`, [["Reconnect", open]]);
}

session.onChange(open);
