import { ApiError } from "./api/client";
import { emptyDraft, KEY_LIFETIME_MS, loadDraft, newKey, saveDraft, type Draft } from "./drafts";
import { explain, sentence, type UserError } from "./errors";

/** How a message gets to the server. */
export interface Delivery {
  /** Posts the message with its idempotency key. Returns the user errors. */
  post(draft: Draft): Promise<UserError[]>;
  /** Returns whether the message was posted already, for when its key is too old to tell. */
  isPosted(draft: Draft): Promise<boolean>;
  /** Called after the message was posted. */
  posted(): void;
}

const LONGEST_WAIT_MS = 60_000;

/**
 * A message from its first letter until it is posted. It is stored at each change, and posted at most
 * once: every attempt has the same key until one of them has an answer.
 */
export class Message {
  draft = $state<Draft>(emptyDraft());
  status = $state<"writing" | "pending" | "waiting">("writing");
  failure = $state("");
  /** An earlier text of this message has arrived under its key. */
  isReused = $state(false);
  /** Whether the browser stores drafts. */
  isStored = $state(true);

  #attempts = 0;
  #wake: () => void = () => {};
  #isStopped = false;

  constructor(
    readonly name: string,
    readonly delivery: Delivery,
  ) {
    this.draft = loadDraft(name) ?? emptyDraft();
  }

  /** Begins to follow the same draft in other tabs, and continues what an earlier page was sending. */
  start(): () => void {
    const follow = (event: StorageEvent): void => {
      if (event.key !== this.name || this.status !== "writing") return;
      this.draft = loadDraft(this.name) ?? emptyDraft();
    };
    addEventListener("storage", follow);
    if (this.draft.isQueued) void this.send();
    return () => {
      removeEventListener("storage", follow);
      this.#isStopped = true;
      this.#wake();
    };
  }

  /** Changes the message and stores it. */
  change(changes: Partial<Draft>): void {
    Object.assign(this.draft, changes);
    this.isStored = saveDraft(this.name, this.draft);
  }

  /** Posts the message, again and again while the server can't be reached. */
  async send(): Promise<void> {
    this.failure = "";
    this.isReused = false;
    this.#attempts = 0;
    this.change({ isQueued: true });
    while (this.draft.isQueued && !this.#isStopped) {
      this.status = "pending";
      if (await this.#attempt()) break;
      this.status = "waiting";
      await this.#pause();
    }
    this.status = "writing";
  }

  /** Stops sending, so that the message can be changed. */
  edit(): void {
    this.change({ isQueued: false });
    this.#wake();
  }

  /** Sends the message although an earlier text of it has arrived. */
  async sendAsNew(): Promise<void> {
    this.change({ key: newKey(), sentAt: null });
    await this.send();
  }

  /** Returns whether there is nothing left to try. */
  async #attempt(): Promise<boolean> {
    try {
      if (await this.#wasPosted()) return this.#finish();
      this.change({ sentAt: this.draft.sentAt ?? Date.now() });
      const errors = await this.delivery.post($state.snapshot(this.draft));
      return errors.length === 0 ? this.#finish() : this.#reject(errors);
    } catch (error) {
      // The page of the next session continues to send.
      if (error instanceof ApiError && error.code === "UNAUTHENTICATED") return true;
      if (error instanceof ApiError && error.isTransient) return false;
      this.failure = sentence(error);
      this.change({ isQueued: false });
      return true;
    }
  }

  async #wasPosted(): Promise<boolean> {
    const { sentAt } = this.draft;
    if (sentAt === null || Date.now() - sentAt < KEY_LIFETIME_MS) return false;
    if (await this.delivery.isPosted($state.snapshot(this.draft))) return true;
    this.change({ key: newKey(), sentAt: null });
    return false;
  }

  #finish(): true {
    this.draft = emptyDraft();
    this.change({});
    this.delivery.posted();
    return true;
  }

  #reject(errors: UserError[]): true {
    this.isReused = errors.some(({ code }) => code === "IDEMPOTENCY_KEY_REUSED");
    // The answer does not tell which file has expired, so all of them must be added again.
    if (errors.some(({ code }) => code === "EXPIRED")) this.draft.files = [];
    this.failure = this.isReused ? "" : explain(errors);
    this.change({ isQueued: false });
    return true;
  }

  #pause(): Promise<void> {
    this.#attempts += 1;
    const ms = Math.min(LONGEST_WAIT_MS, 1000 * 2 ** this.#attempts);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        removeEventListener("online", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake = done;
      addEventListener("online", done);
    });
  }
}
