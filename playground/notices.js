// Notices in the corner of the editors: one for each subject.

import { button, element } from "./dom.js";

const place = document.getElementById("notices");
const BRIEF_MS = 6_000;

/** Shows a notice about `subject` and replaces the previous one. Kinds: good, bad, info. */
export function show(subject, kind, text, actions = []) {
  const buttons = actions.map(([label, act]) => button(label, act));
  const line = element("div", { className: `notice ${kind}`, id: `notice-${subject}` });
  line.append(element("span", {}, text), ...buttons);
  line.append(button("×", () => hide(subject), { className: "quiet", title: "Dismiss" }));
  hide(subject);
  place.append(line);
  return line;
}

/** Shows a notice that disappears after a few seconds. */
export function showBriefly(subject, kind, text) {
  const line = show(subject, kind, text);
  setTimeout(() => line.remove(), BRIEF_MS);
}

/** Removes the notice about `subject`. */
export const hide = (subject) => document.getElementById(`notice-${subject}`)?.remove();
