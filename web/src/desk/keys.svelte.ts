// The keyboard. What is shown binds its keys; the last one to bind a key has it.
import { untrack } from "svelte";
import { loadItem, saveItem } from "../shared/drafts";
import { isComposing } from "../shared/ui/composing";
import type { DeskKey } from "./i18n";

/** A key with what it does. */
export interface Binding {
  key: string;
  label: DeskKey;
  run: () => void;
}

/** Where this browser notes that single keys are switched off (WCAG 2.2, 2.1.4). */
const OFF = "ticketwire:keys";

/** The keys that work now, those of the whole desk first. */
export const keys = $state({ layers: [] as Binding[][], areOn: loadItem<{ off: boolean }>(OFF)?.off !== true });

/** Binds keys. Returns a function that unbinds them. */
export function bind(bindings: Binding[]): () => void {
  untrack(() => keys.layers.push(bindings));
  return () => (keys.layers = keys.layers.filter((layer) => layer[0]?.run !== bindings[0]?.run));
}

/** Switches single keys on or off in this browser. */
export function switchKeys(areOn: boolean): void {
  keys.areOn = areOn;
  saveItem(OFF, areOn ? null : { off: true });
}

/** Follows the keyboard. Returns a function that stops. */
export function listen(): () => void {
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}

function press(event: KeyboardEvent): void {
  if (event.defaultPrevented || isComposing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target as HTMLElement;
  // Nothing behind a dialog answers, wherever the focus is.
  if (document.querySelector("dialog[open]") || target.closest("[popover]")) return;
  if (target.matches("input:not([type=checkbox]), textarea, select")) {
    if (event.key !== "Escape") return;
    // The browser would empty the field of a search.
    event.preventDefault();
    return target.blur();
  }
  // Enter follows a link and presses a button.
  if (event.key === "Enter" && target.closest("a, button, summary")) return;
  const key = keyOf(event);
  const binding = keys.layers.flat().findLast((bound) => bound.key === key);
  if (!binding || !keys.areOn) return;
  event.preventDefault();
  binding.run();
}

/** Returns the Latin letter of the key, whatever the layout: `j` is also where Russian has `о`. */
function keyOf({ key, code, shiftKey }: KeyboardEvent): string {
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  if (!letter || /^[a-z]$/i.test(key)) return key;
  return shiftKey ? letter : letter.toLowerCase();
}
