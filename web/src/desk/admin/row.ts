import { Guarded } from "../../shared/account/guarded.svelte";
import { explain, type UserError } from "../../shared/errors";
import { refocus } from "../../shared/ui/refocus";
import { t } from "../i18n";

/** What is wrong with a change of a list that is no longer as it was read. */
const OUTDATED = ["REQUIRED", "NOT_FOUND", "INVALID"];

/** Returns a guard of the changes of a list, which `read` reads. */
export function guardList(read: () => Promise<unknown>): Guarded {
  return new Guarded(read, refusal, true);
}

/** Says why a change of a list was refused. */
function refusal(errors: UserError[]): string {
  return errors[0] && OUTDATED.includes(errors[0].code) ? t("admin.outdated") : explain(errors);
}

/** Retires or restores an item, which leaves its list, and gives the focus to the last button of its new row. */
export async function moveRow(guarded: Guarded, id: string, action: () => Promise<readonly UserError[]>): Promise<void> {
  await guarded.act(action);
  await refocus(() => document.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"] button:last-of-type`));
}
