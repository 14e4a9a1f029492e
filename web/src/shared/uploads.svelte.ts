// Files on their way into drafts. They arrive although their author has left the page.
import { upload } from "./api/upload";
import { draftName } from "./drafts";
import { sentence } from "./errors";
import { leaving } from "./session.svelte";
import { guardPage } from "./upgrade.svelte";
import { attach } from "./writing.svelte";

/** A file that is not uploaded yet. */
export class Upload {
  /** The part that is sent, 0 to 1. */
  part = $state(0);
  /** Why it failed, or empty. */
  failure = $state("");
  #abort = new AbortController();
  readonly #release = guardPage();

  constructor(
    /** The name of the draft that it belongs to. */
    readonly draft: string,
    readonly file: File,
  ) {}

  /** Uploads the file and adds it to the draft. */
  async run(): Promise<void> {
    this.failure = "";
    this.#abort = new AbortController();
    try {
      const { id, name, size } = await upload(this.file, (part) => (this.part = part), this.#abort.signal);
      if (!uploads.list.includes(this)) return;
      attach(this.draft, { id, name, size });
      this.drop();
    } catch (error) {
      this.failure = sentence(error);
    }
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

/** Begins to upload files for a draft. */
export function startUploads(draft: string, files: Iterable<File>): void {
  for (const file of files) {
    const item = new Upload(draft, file);
    uploads.list.push(item);
    void item.run();
  }
}

leaving.add((account) => {
  const others = uploads.list.filter(({ draft }) => !account || !draft.startsWith(draftName(account, "")));
  for (const item of others) item.drop();
});
