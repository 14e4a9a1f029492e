// The live connection: one websocket, open as long as the page is, so that a server
// that goes away is seen at once and not with the next request.

import * as notices from "./notices.js";
import { endpoint } from "./request.js";
import * as session from "./session.js";

const SUBJECT = "link";
const LONGEST_WAIT = 15_000;
const PING_EVERY = 10_000;
const PONG_WITHIN = 5_000;
// Close codes for a session that is not, or no longer, good (the protocol's PROTOCOL.md).
const SESSION_ENDED = [4401, 4403];

const url = new URL(endpoint);
url.protocol = url.protocol.replace("http", "ws");

const listeners = [];
let client;
let status = "connecting";
// Ends the wait for the next attempt.
let tryNow = () => {};

/** connecting, open, lost or closed. */
export const state = () => status;

/** Calls `listener` when the state changes; `reopened` where streams have to begin anew. */
export const onChange = (listener) => listeners.push(listener);

function become(next, reopened = false) {
  status = next;
  listeners.forEach((listener) => listener(next, reopened));
}

/** Whether an error is about the connection, and not an answer to an operation. */
export const isBroken = (error) => !Array.isArray(error);

/** Subscribes on the present connection. */
export const subscribe = (payload, sink) => client.subscribe(payload, sink);

/** Opens the connection, in the place of an earlier one, with the present session. */
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
    // Everything that a later attempt may mend, also what browsers report as an error
    // without a code; graphql-ws itself gives up on the protocol's fatal codes.
    shouldRetry: (event) => !SESSION_ENDED.includes(event?.code),
    retryWait: (attempt) => wait(attempt, () => opened === client),
    keepAlive: PING_EVERY,
    onNonLazyError: (event) => opened === client && ended(event, token),
    on: {
      ping: (received) => {
        if (!received) pong = setTimeout(() => opened.terminate(), PONG_WITHIN);
      },
      pong: (received) => received && clearTimeout(pong),
      connected: () => {
        if (opened !== client) return;
        notices.hide(SUBJECT);
        if (lostBefore) notices.mention(SUBJECT, "good", "Connected again; live streams go on from their last cursor.");
        lostBefore = false;
        become("open");
      },
      closed: () => {
        clearTimeout(pong);
        if (opened !== client) return;
        lostBefore = true;
        become("lost");
      },
    },
  }));
  become("connecting", true);
}

/** Waits before an attempt: longer each time, and never as long as everybody else. */
function wait(attempt, isCurrent) {
  const longest = Math.min(LONGEST_WAIT, 500 * 2 ** attempt);
  const until = Date.now() + longest * (0.5 + Math.random() / 2);
  return new Promise((resolve) => {
    const tick = () => {
      // A connection that was replaced waits for ever.
      if (!isCurrent()) return clearInterval(timer);
      const left = until - Date.now();
      if (left <= 0) return tryNow();
      const seconds = Math.ceil(left / 1000);
      const text = `The server does not answer. Attempt ${attempt + 1} in ${seconds} s; live streams will go on from their last cursor.`;
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

/** The connection was closed for good. */
function ended(event, token) {
  if (SESSION_ENDED.includes(event?.code) && token) return session.expire(token);
  become("closed");
  const reason = [event?.code, event?.reason].filter(Boolean).join(" ");
  notices.show(SUBJECT, "bad", `The server closed the live connection (${reason}).`, [["Connect again", open]]);
}

session.onChange(open);
