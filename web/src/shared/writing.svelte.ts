import { emptyDraft, loadDraft, placeOf, saveItem, type Draft } from "./drafts";
import { guardPage } from "./upgrade.svelte";

/** The lengths that the server accepts, in characters. */
const MAX_SUMMARY = 255;
const MAX_BODY = 65_536;

/** By how many characters a text is too long. */
function excess(text: string, max: number): number {
  return text.length > max ? Math.max(0, [...text].length - max) : 0;
}

/** What is written in the pages that this tab shows. */
const shown = new Set<Writing>();

/** Adds a file to a draft, whether or not this tab shows it. */
export function attach(name: string, file: Draft["files"][number] & { turn: number }): void {
  const writing = [...shown].find((other) => other.name === name) ?? new Writing(name);
  const { files } = writing.draft;
  writing.change({ files: files.toSpliced(placeOf(file.turn, files), 0, file) });
}

/** A field that a person writes in. Each change is stored at once, and seen by other tabs. */
export class Writing {
  draft = $state<Draft>(emptyDraft());
  /** Whether the browser stores drafts. */
  isStored = $state(true);
  /** Lets the page go that a text would be lost with. */
  #release = (): void => {};
  /** By how many characters the summary and the text are too long. A longer paste is not cut: nobody would notice. */
  readonly summaryExcess = $derived(excess(this.draft.summary, MAX_SUMMARY));
  readonly bodyExcess = $derived(excess(this.draft.body, MAX_BODY));
  /** Whether something to send is written. */
  readonly isBegun = $derived(Boolean(this.draft.summary || this.draft.body || this.draft.files.length));

  /** `initial` is the text before the first change: what is equal to it is not stored. */
  constructor(
    readonly name: string,
    readonly initial: Readonly<Partial<Draft>> = {},
  ) {
    this.load();
  }

  /** Begins to follow changes from elsewhere: from other tabs, and of files that arrive. Returns a function that stops. */
  start(): () => void {
    const follow = (event: Event): void => {
      if (event instanceof StorageEvent && event.key !== this.name && event.key !== null) return;
      this.load();
    };
    // A page that was frozen or left may have missed changes.
    const events = [[window, "storage"], [window, "pageshow"], [window, "focus"], [document, "resume"]] as const;
    for (const [target, type] of events) target.addEventListener(type, follow);
    shown.add(this);
    return () => {
      this.#release();
      shown.delete(this);
      for (const [target, type] of events) target.removeEventListener(type, follow);
    };
  }

  /** Changes the draft and stores it. */
  change(changes: Partial<Draft>): void {
    Object.assign(this.draft, changes);
    const { files, status } = this.draft;
    const initial: Partial<Draft> = { summary: "", body: "", ...this.initial };
    const isSame = (Object.keys(initial) as (keyof Draft)[]).every((key) => (this.draft[key] ?? "") === initial[key]);
    const isUnchanged = isSame && files.length === 0 && !status;
    this.#keep(saveItem(this.name, isUnchanged ? null : this.draft));
  }

  /** Puts back what was sent, with these changes. What has been written since follows it. */
  putBack({ summary, body, files, key }: Draft, changes: Partial<Draft> = {}): void {
    const later = [this.draft.summary, this.draft.body].filter(Boolean).join("\n\n");
    this.change({ summary, body: later ? `${body}\n\n${later}` : body, files: [...files, ...this.draft.files], key, ...changes });
  }

  /** Adds these drafts, and then this one, to the one with another name. Returns whether that is stored. */
  copyTo(name: string, earlier: readonly Draft[] = []): boolean {
    const other = new Writing(name);
    const drafts = [...earlier, this.draft].map((draft) => $state.snapshot(draft));
    for (const { summary, body, files } of drafts) {
      const { summary: shown, body: before, files: others } = other.draft;
      Object.assign(other.draft, {
        summary: shown || summary,
        body: [before, shown && summary, body].filter(Boolean).join("\n\n"),
        files: [...others, ...files],
      });
    }
    other.change({ status: other.draft.status ?? drafts.findLast(({ status }) => status)?.status });
    return other.isStored;
  }

  /** Empties the draft. The next one has another key. */
  clear(): void {
    this.draft = { ...emptyDraft(), ...this.initial };
    saveItem(this.name, null);
    this.#keep(true);
  }

  /** Notes whether the draft is stored. Until it is, the page that shows it stays. */
  #keep(isStored: boolean): void {
    this.isStored = isStored;
    const release = this.#release;
    this.#release = !isStored && shown.has(this) ? guardPage() : () => {};
    release();
  }

  /** Takes over what is stored. */
  load(): void {
    if (!this.isStored) return;
    const stored = loadDraft(this.name);
    // An empty draft keeps its key: it may be the one of a message whose text was deleted. One that an earlier
    // version has stored may lack a field.
    if (stored) this.draft = { ...this.initial, ...stored };
    else if (this.draft.body || this.draft.summary || this.draft.files.length || this.draft.status || this.initial.body) this.draft = { ...emptyDraft(), ...this.initial };
  }
}
