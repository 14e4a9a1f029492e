import { refocus } from "../../shared/ui/refocus";

/** Gives the focus to the last button of an item that was retired or restored: it has left its list. */
export function refocusRow(id: string): Promise<void> {
  return refocus(() => document.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"] button:last-of-type`));
}
