// Files on their way into drafts. They arrive although their author has left the page.
import { ApiError } from "./api/client";
import { pause } from "./api/pause";
import { maxFileBytes, upload } from "./api/upload";
import { draftName } from "./drafts";
import { sentence } from "./errors";
import { bytes, t } from "./i18n/index.svelte";
import { takeBack, type Letter } from "./outbox.svelte";
import { leaving } from "./session.svelte";
import { guardPage } from "./upgrade.svelte";
import { attach, type Writing } from "./writing.svelte";

/** How many files are sent at once. The server receives few of one account at a time. */
const MOST_AT_ONCE = 3;

/** Files whose turn has not come. */
const waiting: Upload[] = [];
let sending = 0;
let lastTurn = 0;

/** A file that is not uploaded yet. */
export class Upload {
  /** The part that is sent, 0 to 1. */
  part = $state(0);
  /** Why it failed, or empty. */
  failure = $state("");
  #abort = new AbortController();
  readonly #release = guardPage();
  /** Its place among the files of the draft, those of earlier visits included. */
  readonly turn = (lastTurn = Math.max(Date.now(), lastTurn + 1));

  constructor(
    /** The name of the draft that it belongs to. */
    public draft: string,
    readonly file: File,
  ) {}

  get name(): string {
    return this.file.name;
  }

  /** Uploads the file when its turn has come, and adds it to the draft. */
  run(): void {
    this.failure = "";
    waiting.push(this);
    sendNext();
  }

  async send(): Promise<void> {
    // The server hangs up on a file that is far too large, as a lost line does.
    const most = await maxFileBytes();
    if (!uploads.list.includes(this)) return;
    if (this.file.size > most) {
      this.failure = t("files.tooLarge", { size: bytes(most) });
      return;
    }
    try {
      this.#abort = new AbortController();
      const { id, name, size } = await upload(this.file, (part) => (this.part = part), this.#abort.signal);
      if (uploads.list.includes(this)) attach(this.draft, { id, name, size, turn: this.turn });
      this.drop();
    } catch (error) {
      const isLimited = error instanceof ApiError && error.code === "RATE_LIMITED";
      if (isLimited) void this.#sendAfter(error.retryAfterSeconds ?? 1);
      else this.failure = sentence(error);
    }
  }

  /** Sends the file again after this many seconds. Others are sent meanwhile. */
  async #sendAfter(seconds: number): Promise<void> {
    this.part = 0;
    await pause(0, seconds);
    waiting.push(this);
    sendNext();
  }

  /** Gives the file up. */
  drop(): void {
    this.#abort.abort();
    this.#release();
    uploads.list = uploads.list.filter((other) => other !== this);
  }
}

/** The files of all drafts that are not uploaded yet. */
export const uploads = $state({ list: [] as Upload[] });

function sendNext(): void {
  while (sending < MOST_AT_ONCE && waiting.length > 0) {
    sending += 1;
    void waiting.shift()!.send().finally(() => {
      sending -= 1;
      sendNext();
    });
  }
}

/** Begins to upload files for a draft. */
export function startUploads(draft: string, files: Iterable<File>): void {
  for (const file of files) {
    const item = new Upload(draft, file);
    uploads.list.push(item);
    item.run();
  }
}

/** Returns whether something to send is written, or a file for it is on its way. */
export function hasDraft(writing: Writing): boolean {
  return writing.isBegun || uploads.list.some(({ draft }) => draft === writing.name);
}

/**
 * Moves letters that were not sent, and what is written, to the draft with another name, behind what is
 * there. The files that are on their way follow. Returns false, and moves nothing, if the browser stores
 * no drafts.
 */
export function moveDraft(writing: Writing, name: string, letters: readonly Letter[] = []): boolean {
  if (!writing.copyTo(name, letters.map((letter) => ({ ...letter, status: letter.comment?.status })))) return false;
  for (const letter of letters) takeBack(letter);
  for (const item of uploads.list) if (item.draft === writing.name) item.draft = name;
  writing.clear();
  return true;
}

leaving.add((account) => {
  const others = uploads.list.filter(({ draft }) => !account || !draft.startsWith(draftName(account, "")));
  for (const item of others) item.drop();
});
