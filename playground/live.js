// The list of live streams below the editors: they go on whatever tab is looked at.

import { button, element } from "./dom.js";
import * as streams from "./streams.js";

const SHOWN = 30;
const STATES = {
  live: "live",
  connecting: "connecting",
  waiting: "waits for a session",
  ended: "ended",
  failed: "failed",
};

const place = document.getElementById("live");

/** Shows the streams as they change. */
export const begin = () => streams.onChange(draw);

function draw() {
  place.replaceChildren(...streams.all().map(row));
  place.hidden = place.childElementCount === 0;
}

function row(stream) {
  const { tab, name, state, as, count, messages, problem } = stream;
  const stopped = state === "ended" || state === "failed";
  const head = element(
    "div",
    { className: "head" },
    element("span", { className: `state ${state}` }, STATES[state]),
    element("strong", {}, name),
    element("span", {}, `as ${as?.name ?? "nobody"}, ${count} ${count === 1 ? "message" : "messages"}`),
    problem ? element("span", { className: "problem" }, problem) : undefined,
    element("span", { className: "gap" }),
    stopped ? button("Resume", () => streams.resume(stream)) : undefined,
    button(stopped ? "Remove" : "Stop", () => streams.close(tab)),
  );
  const events = element("ol", {}, ...messages.slice(0, SHOWN).map(line));
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

/** The rest of a message in a line. */
function describe({ __typename, cursor, occurredAt, actor, comment, ...rest }) {
  const who = actor?.name;
  const said = comment && `${comment.visibility === "INTERNAL" ? "(internal) " : ""}“${comment.body}”`;
  const values = Object.values(rest).map((value) => value?.name ?? value);
  const change = values.filter((value) => typeof value === "string").join(" → ");
  return [who, said, change].filter(Boolean).join(" · ");
}
