import type { Guarded } from "../../shared/account/guarded.svelte";
import type { UserError } from "../../shared/errors";
import { refocus } from "../../shared/ui/refocus";

/** Retires or restores an item, which leaves its list, and gives the focus to the last button of its new row. */
export async function moveRow(guarded: Guarded, id: string, action: () => Promise<readonly UserError[]>): Promise<void> {
  await guarded.act(action);
  await refocus(() => document.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"] button:last-of-type`));
}
