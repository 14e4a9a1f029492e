import { ApiError, asApiError } from "./client";
import type { Operation } from "./document";
import { live } from "./lazy";
import type { Message } from "./live";
import { pause } from "./pause";

/** What a page shows, and keeps up to date. */
export interface Followed<T, V> {
  /** Reads all of it. Returns the variables of the stream that continues it, or null if there is nothing to follow. */
  load(): Promise<V | null>;
  /** Takes over a message of the stream. */
  next(message: T): void;
  /** Neither can be read again. */
  fail(error: ApiError): void;
}

/**
 * Reads what a page shows and follows its stream. If either ends, it begins again, so that nothing
 * stays outdated. Returns a function that stops.
 */
export function stay<T extends Message, V extends object>(
  document: Operation<Record<string, T>, V> | Operation<{ [field: string]: T }, V>,
  followed: Followed<T, V>,
): () => void {
  let stop = (): void => {};
  let isOver = false;
  let attempts = 0;

  async function begin(): Promise<void> {
    try {
      const variables = await followed.load();
      const { follow } = await live();
      if (isOver || !variables) return;
      stop = follow(document, variables, { next, end });
    } catch (error) {
      await end(asApiError(error));
    }
  }
  function next(message: T): void {
    attempts = 0;
    followed.next(message);
  }
  async function end(error: ApiError | null): Promise<void> {
    if (isOver) return;
    if (error && !error.isTransient) return followed.fail(error);
    await pause(attempts++, error?.retryAfterSeconds);
    if (!isOver) await begin();
  }

  void begin();
  return () => {
    isOver = true;
    stop();
  };
}
