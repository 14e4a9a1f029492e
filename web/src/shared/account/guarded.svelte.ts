import { explain, sentence, type UserError } from "../errors";

type Action = () => Promise<readonly UserError[]>;

/** Actions that the server may want a person to confirm with their password first. */
export class Guarded {
  failure = $state("");
  isBusy = $state(false);
  /** What is done once more when the person has confirmed that it is they. */
  pending = $state.raw<Action[]>([]);
  /** The action that was asked for last. */
  private last: Promise<unknown> = Promise.resolve();

  /**
   * `done` is called after each action that succeeded, with `rereads` also after each that was refused:
   * what the page shows may be outdated. `refusal` says why an action was refused.
   */
  constructor(
    readonly done: () => Promise<unknown> | void,
    readonly refusal: (errors: UserError[]) => string = explain,
    readonly rereads = false,
  ) {}

  /** Runs an action, after those before it, as it may depend on what they changed. Returns whether it succeeded. */
  async act(action: Action): Promise<boolean> {
    this.isBusy = true;
    const own = this.last.then(() => this.run(action));
    this.last = own;
    const hasSucceeded = await own;
    if (this.last === own) this.isBusy = false;
    return hasSucceeded;
  }

  private async run(action: Action): Promise<boolean> {
    try {
      const errors = [...(await action())];
      const isUnconfirmed = errors.some(({ code }) => code === "REAUTHENTICATION_REQUIRED");
      if (isUnconfirmed) this.pending = [...this.pending, action];
      this.failure = isUnconfirmed ? "" : this.refusal(errors);
      if (errors.length === 0 || (this.rereads && !isUnconfirmed)) await this.done();
      return errors.length === 0;
    } catch (error) {
      this.failure = sentence(error);
      return false;
    }
  }

  /** Runs an action, unless one is running: its button was pressed twice. */
  async once(action: Action): Promise<void> {
    if (!this.isBusy) await this.act(action);
  }

  /** Does what follows each action that succeeded, without one. Returns whether it succeeded. */
  reload(): Promise<boolean> {
    return this.act(async () => []);
  }

  /** Runs the actions that wait. */
  async confirmed(): Promise<void> {
    const { pending } = this;
    this.pending = [];
    await Promise.all(pending.map((action) => this.act(action)));
  }

  /** Gives up the actions that wait. */
  cancel(): void {
    this.pending = [];
  }
}
