import type { Scalar } from "../api/document";
import { saveText } from "../drafts";
import type { Text } from "./catalogue";
import type en from "./en";

/** The key of a text. */
export type Key = keyof typeof en;

/** A text of another language: with plural forms if the English one has them. */
export type Translated<T> = T extends string ? string : Record<"one" | "few" | "many" | "other", string>;
/** The texts of a language. A missing or unknown key does not compile. */
export type Catalogue = { [K in Key]: Translated<(typeof en)[K]> };

type Locale = Scalar<"Locale">;
type Values = Record<string, string | number>;

type Load = Record<Locale, () => Promise<{ default: Record<string, Text> }>>;

const load: Load = {
  EN: () => import("./en"),
  RU: () => import("./ru"),
};
const STORED = "ticketwire:locale";
/** The texts that only one entry has. */
let own: Load | null = null;

const state = $state<{ locale: Locale; texts: Record<string, Text> | null }>({ locale: "EN", texts: null });
const plurals = $derived(new Intl.PluralRules(language()));

/** Returns the reader's language: the one chosen last in this browser, or else the browser's. */
export function preferred(): Locale {
  const stored = localStorage.getItem(STORED) ?? navigator.language;
  return stored.toUpperCase().startsWith("RU") ? "RU" : "EN";
}

/** Adds the texts of an entry. Call it before the first language is loaded. */
export function extend(texts: Load): void {
  own = texts;
}

/** Loads a language and shows everything in it. */
export async function speak(locale: Locale): Promise<void> {
  saveText(STORED, locale);
  const [common, added] = await Promise.all([load[locale](), own?.[locale]()]);
  state.texts = { ...common.default, ...added?.default };
  state.locale = locale;
  document.documentElement.lang = language();
}

/** Returns the language that is shown. */
export function locale(): Locale {
  return state.locale;
}

/** Returns the text of a key, with its parameters filled in. `n` selects the plural form. */
export function t(key: Key, values: Values = {}): string {
  const text = state.texts?.[key] ?? "";
  const form = typeof text === "string" ? text : (text[plurals.select(Number(values.n))] ?? text.other);
  return form.replace(/\{(\w+)\}/g, (_, name: string) => format(values[name] ?? ""));
}

/** Returns how long ago an instant was, such as `5 min`. */
export function age(instant: string, now = Date.now()): string {
  return span((now - Date.parse(instant)) / 1000);
}

/** Returns a time in the largest unit that it fills, such as `5 min`. */
export function span(seconds: number): string {
  const minutes = Math.max(0, Math.floor(seconds / 60));
  const [value, unit] = minutes < 60 ? [minutes, "minute"] : minutes < 2880 ? [Math.floor(minutes / 60), "hour"] : [Math.floor(minutes / 1440), "day"];
  return new Intl.NumberFormat(language(), { style: "unit", unit, unitDisplay: "short" }).format(value as number);
}

/** Returns a time of day with its date, in the reader's zone and form. */
export function dateTime(instant: string): string {
  return new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(instant));
}

/** Returns a size in bytes in the largest unit that it fills. */
export function bytes(size: number): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(3, Math.floor(Math.log10(Math.max(size, 1)) / 3));
  const form = { style: "unit", unit: units[power], maximumFractionDigits: 1 } as const;
  return new Intl.NumberFormat(language(), form).format(size / 1000 ** power);
}

/** Returns a duration as minutes and seconds, such as `1:05`. */
export function duration(seconds: number): string {
  const rest = String(Math.floor(seconds % 60)).padStart(2, "0");
  return `${Math.floor(seconds / 60)}:${rest}`;
}

function language(): string {
  const own = state.locale === "RU" ? "ru" : "en";
  // The browser's own variant of the language has the date format that the reader knows.
  return navigator.language.startsWith(own) ? navigator.language : own;
}

function format(value: string | number): string {
  return typeof value === "number" ? value.toLocaleString(language()) : value;
}
