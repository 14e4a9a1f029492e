// What the person has to know, above the editors: one line a subject.

import { button, element } from "./dom.js";

const place = document.getElementById("notices");
const BRIEFLY = 6_000;

/** Shows a line about `subject`, in the place of an earlier one. Kinds: good, bad, info. */
export function show(subject, kind, text, actions = []) {
  const buttons = actions.map(([label, act]) => button(label, act));
  const line = element("div", { className: `notice ${kind}`, id: `notice-${subject}` });
  line.append(element("span", {}, text), ...buttons);
  line.append(button("×", () => hide(subject), { className: "quiet", title: "Dismiss" }));
  hide(subject);
  place.append(line);
  return line;
}

/** Shows a line that leaves by itself. */
export function mention(subject, kind, text) {
  const line = show(subject, kind, text);
  setTimeout(() => line.remove(), BRIEFLY);
}

/** Takes the line about `subject` away. */
export const hide = (subject) => document.getElementById(`notice-${subject}`)?.remove();
