import type { ErrorCode } from "../api/client";
import type { Scalar } from "../api/document";

/** A text with a form for each plural category; `other` is the fallback. */
export type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };
/** A text, with parameters in braces such as `{name}`. */
export type Text = string | Plural;

type Enum<Prefix extends string, Name extends Parameters<typeof scalar>[0]> = `${Prefix}.${Scalar<Name>}`;
declare function scalar(name: "TicketStatus" | "TicketPriority" | "NotificationKind" | "AccountEventKind"): void;

/** The keys that the schema demands: a text for each value of an enum, and for each error. */
export type SchemaKey =
  | `error.${ErrorCode}`
  | `userError.${Scalar<"UserErrorCode">}`
  | Enum<"status", "TicketStatus">
  | Enum<"priority", "TicketPriority">
  | Enum<"notification", "NotificationKind">
  | Enum<"accountEvent", "AccountEventKind">
  | `method.${Scalar<"SecondFactorProof">}`;
