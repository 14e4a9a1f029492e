// The websocket of the API. Each stream resumes where it stopped, so a lost line skips nothing.
import { createClient, type Client, type FormattedExecutionResult } from "graphql-ws";
import { ApiError, shownAccount, toApiError } from "./client";
import { textOf, type Operation } from "./document";
import { line } from "./line.svelte";
import { endPauses, pause } from "./pause";

/** The server's close codes for a session that has ended. */
const SIGNED_OUT = [4401, 4403];
/** The close code of a client that has no stream left. The server never closes with it. */
const NORMAL = 1000;
/** How often the client asks whether the line is alive, and how long it waits, in milliseconds. */
const PING_MS = 10_000;
const PONG_MS = 5_000;
/** How often the clock is read, and a gap in it that can only be sleep, in milliseconds. */
const TICK_MS = 5_000;
const SLEEP_MS = 90_000;
/** A line that is lost sooner than this is lost soon, in milliseconds. */
const LASTING_MS = 20_000;
/** After this many lines that were soon lost, a new line ends nobody's pause. */
const FLAPPING = 3;

/** A message of a stream. */
export interface Message {
  __typename: string;
  cursor?: string;
}

/** What a stream calls. */
export interface Sink<T> {
  next(message: T): void;
  /** The stream ended. `null` if the server completed it. */
  end(error: ApiError | null): void | Promise<void>;
}

let client: Client | undefined;
/** Reconnects the websocket if it is open. */
let wake: () => void = () => {};
onWake(() => wake());

/**
 * Follows a subscription. If its messages have cursors, the variable `after` moves: it is always the
 * cursor of the last message that `next` has processed. Returns a function that ends the stream.
 */
export function follow<T extends Message, V extends object>(
  document: Operation<Record<string, T>, V> | Operation<{ [field: string]: T }, V>,
  variables: V,
  sink: Sink<T>,
): () => void {
  client ??= connect();
  const moving: V & { after?: string | null } = { ...variables };
  let isOver = false;
  function end(error: ApiError | null): void {
    if (isOver) return;
    isOver = true;
    stop();
    void sink.end(error);
  }
  function next({ data, errors }: FormattedExecutionResult<Record<string, T>, unknown>): void {
    const error = errors?.[0];
    // A message that fails, such as one of a ticket that was just taken away, is not the stream's end.
    if (error) return end((error.path?.length ?? 0) > 1 ? null : toApiError(error as never));
    const [message] = Object.values(data ?? {});
    if (!message) return;
    sink.next(message);
    if (message.cursor) moving.after = message.cursor;
  }
  const stop = client.subscribe<Record<string, T>>(
    { query: textOf(document), variables: moving },
    { next, error: (error) => end(endOf(error)), complete: () => end(null) },
  );
  return stop;
}

function endOf(error: unknown): ApiError {
  if (Array.isArray(error)) return toApiError(error[0]);
  const code = (error as { code?: number }).code ?? 0;
  return SIGNED_OUT.includes(code) ? toApiError({ extensions: { code: "UNAUTHENTICATED" } }) : new ApiError("OFFLINE");
}

/** Closes the websocket, so that the next stream opens one with the session of then. */
export function hangUp(): void {
  void client?.dispose();
  client = undefined;
  line.isUp = true;
}

function connect(): Client {
  let socket: WebSocket | undefined;
  let overdue: ReturnType<typeof setTimeout>;
  let openedAt = 0;
  /** How many lines in succession were soon lost, as when the server fails at what is asked of it. */
  let lost = 0;
  // Without an answer to its pings a line is dead, although nothing says so.
  const expectPong = (): void => {
    clearTimeout(overdue);
    overdue = setTimeout(() => socket?.readyState === WebSocket.OPEN && created.terminate(), PONG_MS);
  };
  const created = createClient({
    url: `${location.origin.replace(/^http/, "ws")}/graphql`,
    retryAttempts: Infinity,
    shouldRetry: (event) => !SIGNED_OUT.includes((event as CloseEvent).code),
    // It counts the attempts from the last line that came up.
    retryWait: (attempts) => pause(Math.max(attempts, lost)),
    connectionParams: shownAccount,
    keepAlive: PING_MS,
    on: {
      connected: (opened) => {
        socket = opened as WebSocket;
        openedAt = Date.now();
        if (created === client) line.isUp = true;
        if (lost < FLAPPING) endPauses();
      },
      // What nobody follows is not lost, nor is the websocket of an earlier session.
      closed: (event) => {
        if (openedAt) lost = Date.now() - openedAt < LASTING_MS ? lost + 1 : 0;
        openedAt = 0;
        if (created === client && (event as CloseEvent).code !== NORMAL) line.isUp = false;
      },
      ping: (received) => received || expectPong(),
      pong: () => clearTimeout(overdue),
    },
  });
  wake = () => socket?.readyState === WebSocket.OPEN && created.terminate();
  return created;
}

/**
 * Calls back after the computer or the page has slept. The line may be dead since then, and what is
 * shown is from before.
 */
function onWake(callback: () => void): void {
  let last = Date.now();
  document.addEventListener("resume", callback);
  setInterval(() => {
    const now = Date.now();
    // A hidden page's timers run once a minute.
    if (now - last > SLEEP_MS) callback();
    last = now;
  }, TICK_MS);
}
