// What a ticket can become, as the pickers offer it.
import { request } from "../shared/api/client";
import { graphql, type Scalar } from "../shared/api/document";
import { session } from "../shared/session.svelte";
import { t } from "./i18n";
import { statusName } from "./names";
import type { Category } from "./queue/documents";

/** A line of a picker. */
export interface Choice<T> {
  id: string;
  label: string;
  hint?: string;
  value: T;
}

/** A change of a ticket: one field with its new value. */
export type TicketChange =
  | { status: Scalar<"TicketStatus"> }
  | { priority: Scalar<"TicketPriority"> }
  | { categoryId: string }
  | { assigneeId: string | null };

/** A field that staff change with one key. */
export type Field = "assignee" | "status" | "priority" | "category";

const PEOPLE = graphql(`
  query PickPeople($text: String!, $isStaff: Boolean) { people(text: $text, isStaff: $isStaff) { id name email } }
`);
const STATUSES: Scalar<"TicketStatus">[] = ["WAITING_FOR_SUPPORT", "WORKING_ON_IT", "WAITING_FOR_CUSTOMER", "RESOLVED", "CLOSED"];
const PRIORITIES: Scalar<"TicketPriority">[] = ["HIGHEST", "HIGH", "MEDIUM", "LOW", "LOWEST"];

/** Returns the choices of a field that fit a text. */
export async function choicesOf(field: Field, text: string, categories: Category[]): Promise<Choice<TicketChange>[]> {
  switch (field) {
    case "status":
      return fitting(text, STATUSES.map((status) => ({ id: status, label: statusName(status), value: { status } })));
    case "priority":
      return fitting(text, PRIORITIES.map((priority) => ({ id: priority, label: t(`priority.${priority}`), value: { priority } })));
    case "category":
      return fitting(text, categories.map(({ id, name }) => ({ id, label: name, value: { categoryId: id } })));
    case "assignee":
      return assignees(text);
  }
}

async function assignees(text: string): Promise<Choice<TicketChange>[]> {
  const assign = ({ id, label, hint, value }: Choice<string>) => ({ id, label, hint, value: { assigneeId: value } });
  const me = { id: "me", label: t("change.me"), hint: session.viewer?.name, value: { assigneeId: session.viewer?.id ?? null } };
  const nobody = { id: "nobody", label: t("change.nobody"), value: { assigneeId: null } };
  if (!text) return [me, nobody];
  return [...fitting(text, [me, nobody]), ...(await people(text, true)).map(assign)];
}

/** Returns the people whose name or address fits a text: staff, or customers. */
export async function people(text: string, isStaff: boolean): Promise<Choice<string>[]> {
  if (!text) return [];
  const found = await request(PEOPLE, { text, isStaff });
  return found.people.map(({ id, name, email }) => ({ id, label: name, hint: email ?? "", value: id }));
}

/** Returns the choices that contain each word of a text. */
export function fitting<T>(text: string, choices: Choice<T>[]): Choice<T>[] {
  const words = text.toLowerCase().split(/\s+/);
  return choices.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
}
