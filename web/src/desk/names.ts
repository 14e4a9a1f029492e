import type { Scalar } from "../shared/api/document";
import { t } from "./i18n";

/** Returns the name of a status for staff. */
export function statusName(status: Scalar<"TicketStatus">): string {
  return t(`deskStatus.${status}`);
}
