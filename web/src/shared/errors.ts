import { ApiError } from "./api/client";
import type { Scalar } from "./api/document";
import { RejectedFile, UnreadableFile } from "./api/upload";
import { duration, t, type Key } from "./i18n/index.svelte";

/** A user error as the documents of this app select it. */
export interface UserError {
  code: Scalar<"UserErrorCode">;
  field?: string[] | null;
}

/** Returns the sentence about the first user error, or an empty text. */
export function explain(errors: UserError[]): string {
  return errors[0] ? t(`userError.${errors[0].code}`) : "";
}

/** Returns the sentence about an error with a code, or an empty text. */
export function explainCode(code: string, isUserError: boolean): string {
  return t(`${isUserError ? "userError" : "error"}.${code}` as Key);
}

/** Returns a sentence about a failure: what happened and what to do. */
export function sentence(error: unknown): string {
  if (error instanceof RejectedFile) return t(error.code === "REQUIRED" ? "files.empty" : `userError.${error.code}`);
  if (error instanceof UnreadableFile) return t("files.unreadable");
  if (!(error instanceof ApiError)) return t("error.INTERNAL");
  const text = t(`error.${error.code}`) || t("error.INTERNAL");
  if (error.retryAfterSeconds) return `${text} ${t("error.retryIn", { time: duration(error.retryAfterSeconds) })}`;
  return error.requestId ? `${text} ${t("error.request", { id: error.requestId })}` : text;
}
