// The list of live streams below the editors. They keep running whatever tab is active.

import { button, element } from "./dom.js";
import * as streams from "./streams.js";

const MAX_MESSAGES = 30;
const STATES = {
  live: "live",
  connecting: "connecting",
  waiting: "waiting for a session",
  ended: "ended",
  failed: "failed",
};

const place = document.getElementById("live");

/** Shows the streams, and keeps them up to date. */
export const begin = () => streams.onChange(draw);

function draw() {
  place.replaceChildren(...streams.all().map(row));
  place.hidden = place.childElementCount === 0;
}

function row(stream) {
  const { tab, name, state, as, count, messages, problem } = stream;
  const isStopped = state === "ended" || state === "failed";
  const head = element(
    "div",
    { className: "head" },
    element("span", { className: `state ${state}` }, STATES[state]),
    element("strong", {}, name),
    element("span", {}, `as ${as?.name ?? "nobody"}, ${count} ${count === 1 ? "message" : "messages"}`),
    problem ? element("span", { className: "problem" }, problem) : undefined,
    element("span", { className: "gap" }),
    isStopped ? button("Resume", () => streams.resume(stream)) : undefined,
    button(isStopped ? "Remove" : "Stop", () => streams.close(tab)),
  );
  const events = element("ol", {}, ...messages.slice(0, MAX_MESSAGES).map(line));
  return element("article", { className: "stream" }, head, events);
}

function line({ at, message }) {
  const when = message?.occurredAt ? new Date(message.occurredAt) : at;
  const type = message?.__typename ?? "message";
  return element(
    "li",
    { className: type },
    element("time", {}, when.toLocaleTimeString()),
    element("b", {}, type),
    element("span", {}, describe(message ?? {})),
  );
}

/** Summarizes a message in one line. */
function describe({ __typename, cursor, occurredAt, actor, comment, ...rest }) {
  const who = actor?.name;
  const said = comment && `${comment.visibility === "INTERNAL" ? "(internal) " : ""}“${comment.body}”`;
  const values = Object.values(rest).map((value) => value?.name ?? value);
  const change = values.filter((value) => typeof value === "string").join(" → ");
  return [who, said, change].filter(Boolean).join(" · ");
}
