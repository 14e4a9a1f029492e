import { tick } from "svelte";

/** Gives the focus to an element once the page has changed, if what had it is gone. Elsewhere somebody may be typing. */
export async function refocus(find: () => HTMLElement | null | undefined): Promise<void> {
  await tick();
  if (document.activeElement === document.body) find()?.focus();
}
