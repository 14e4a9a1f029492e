import { request } from "../../shared/api/client";
import type { UserError } from "../../shared/errors";
import { REDACT_ATTACHMENT, REDACT_COMMENT, REDACT_TICKET } from "./documents";

/** A text or file that is erased: the id is that of the ticket, comment or file. */
export interface Erasure {
  what: "SUMMARY" | "DESCRIPTION" | "COMMENT" | "ATTACHMENT";
  id: string;
}

/** Erases a text or file permanently. */
export async function run({ what, id }: Erasure): Promise<UserError[]> {
  switch (what) {
    case "COMMENT":
      return (await request(REDACT_COMMENT, { id })).redactComment.userErrors;
    case "ATTACHMENT":
      return (await request(REDACT_ATTACHMENT, { id })).redactAttachment.userErrors;
    default:
      return (await request(REDACT_TICKET, { id, text: what })).redactTicket.userErrors;
  }
}
