import type { Scalar } from "../api/document";
import { t } from "../i18n/index.svelte";
import type { TimelineEvent } from "./documents";

/** Returns a sentence about an event that is not a comment. `statusName` names a status for the reader. */
export function describe(event: TimelineEvent, statusName = (status: Scalar<"TicketStatus">) => t(`status.${status}`)): string {
  const name = event.actor?.name ?? t("ticket.system");
  switch (event.__typename) {
    case "TicketCreated":
      return t("ticket.opened", { name });
    case "StatusChanged":
      return t("ticket.statusChanged", { name, status: statusName(event.toStatus) });
    case "PriorityChanged":
      return t("ticket.priorityChanged", { name, priority: t(`priority.${event.toPriority}`) });
    case "AssigneeChanged":
      return event.toAssignee ? t("ticket.assigned", { name, assignee: event.toAssignee.name }) : t("ticket.unassigned", { name });
    case "CategoryChanged":
      return t("ticket.categoryChanged", { name, category: event.toCategory.name });
    case "SummaryChanged":
      return t("ticket.summaryChanged", { name });
    case "ParticipantAdded":
      return t("ticket.participantAdded", { name, participant: event.participant.name });
    case "ParticipantRemoved":
      return t("ticket.participantRemoved", { name, participant: event.participant.name });
    case "TicketMerged":
      return t("ticket.mergedInto", { name, from: numberOf(event.from), into: numberOf(event.into) });
    case "TicketUnmerged":
      return t("ticket.unmerged", { name, from: numberOf(event.from), into: numberOf(event.into) });
    case "CommentEdited":
      return t("ticket.commentEdited", { name });
    case "ContentRedacted":
      return t(event.content === "ATTACHMENT" ? "ticket.fileRedacted" : "ticket.textRedacted", { name });
    case "ParticipantInvited":
      return t("ticket.personInvited", { name });
    case "InvitationDeclined":
      return t("ticket.invitationDeclined");
    case "InvitationWithdrawn":
      return t("ticket.invitationWithdrawn", { name });
    default:
      return t("ticket.unknownEvent");
  }
}

/** Returns the number of a ticket, if the reader may see it. */
function numberOf(ticket: { number: string } | null): string {
  return ticket?.number ?? t("ticket.other");
}
