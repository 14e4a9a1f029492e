import { ApiError, asApiError } from "./client";
import type { Operation } from "./document";
import { live } from "./lazy";
import type { Message } from "./live";
import { pause } from "./pause";

/** What a page shows, and keeps up to date. */
export interface Followed<T, V> {
  /**
   * Reads all of it. Returns the variables of the stream that continues it, or null if there is nothing
   * to follow. An answer that is no longer wanted is not shown: nobody is there, or it was read again.
   */
  load(isWanted: () => boolean): Promise<V | null>;
  /** Takes over a message of the stream. */
  next(message: T): void;
  /** Neither is read again until somebody asks for it. */
  fail(error: ApiError): void;
  /** Reading has failed more than once, and is tried again. */
  wait?(error: ApiError): void;
}

/** What follows a stream for a page. */
export interface Following {
  /** Reads and follows again at once, whether or not that has failed. */
  retry(): void;
  /** Goes on after a failure of what the page has read beside it, as after one of its own. */
  recover(error: ApiError): void;
  stop(): void;
}

/**
 * Reads what a page shows and follows its stream. If either ends, it begins again, so that nothing
 * stays outdated.
 */
export function stay<T extends Message, V extends object>(
  document: Operation<Record<string, T>, V> | Operation<{ [field: string]: T }, V>,
  followed: Followed<T, V>,
): Following {
  let end = (): void => {};
  /** Counts the beginnings: what an earlier one still brings is outdated. */
  let turn = 0;
  let isOver = false;
  let attempts = 0;

  async function begin(): Promise<void> {
    const own = ++turn;
    end();
    try {
      const variables = await followed.load(() => own === turn);
      const { follow } = await live();
      if (own !== turn || !variables) return;
      end = follow(document, variables, { next, end: (error) => recover(own, error) });
    } catch (error) {
      await recover(own, asApiError(error));
    }
  }
  function next(message: T): void {
    attempts = 0;
    followed.next(message);
  }
  async function recover(own: number, error: ApiError | null): Promise<void> {
    if (own !== turn) return;
    if (error && !error.isTransient) return followed.fail(error);
    if (error && attempts > 0) followed.wait?.(error);
    await pause(attempts++, error?.retryAfterSeconds);
    if (own === turn) await begin();
  }

  void begin();
  return {
    retry: () => {
      if (!isOver) void begin();
    },
    recover: (error) => {
      if (!isOver) void recover(turn, error);
    },
    stop: () => {
      isOver = true;
      turn += 1;
      end();
    },
  };
}
