import { extend, t as translate, type Key } from "../../shared/i18n/index.svelte";
import type en from "./en";

/** The key of a text that only the desk has. */
export type DeskKey = keyof typeof en;

/** Makes the desk's texts part of every language. */
export function addTexts(): void {
  extend({ EN: () => import("./en"), RU: () => import("./ru") });
}

/** Returns the text of a key, as the portal's `t` does, of the desk's own texts too. */
export const t = translate as (key: Key | DeskKey, values?: Record<string, string | number>) => string;
