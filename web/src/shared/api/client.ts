// The client of the API: one request a call, the session in a cookie that no script can read.
import { untrack } from "svelte";
import { textOf, type Operation } from "./document";
import { pause } from "./pause";

/** The codes of top-level errors, and those of failures that never reached the server. */
export type ErrorCode =
  | "UNAUTHENTICATED"
  | "FORBIDDEN"
  | "NOT_FOUND"
  | "SECOND_FACTOR_REQUIRED"
  | "RATE_LIMITED"
  | "UNAVAILABLE"
  | "RESPONSE_TOO_LARGE"
  | "TOO_MANY_STATEMENTS"
  | "TIMEOUT"
  | "BAD_REQUEST"
  | "INTERNAL"
  | "OFFLINE"
  | "OTHER_ACCOUNT";

/** A request that failed as a whole. */
export class ApiError extends Error {
  constructor(
    readonly code: ErrorCode,
    readonly retryAfterSeconds?: number,
    /** Identifies the request in the server's log. Only with `INTERNAL`. */
    readonly requestId?: string,
  ) {
    super(code);
  }

  /** Whether the same request can succeed later. It may have been executed. */
  get isTransient(): boolean {
    return ["OFFLINE", "UNAVAILABLE", "TIMEOUT", "INTERNAL", "RATE_LIMITED"].includes(this.code);
  }
}

/** Returns the error of a failed request. A chunk that could not be loaded counts as a lost connection. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError("OFFLINE");
}

interface GraphqlError {
  extensions?: { code?: string; retryAfterSeconds?: number; requestId?: string };
}

interface Answer {
  data?: unknown;
  errors?: GraphqlError[];
}

const TIMEOUT_MS = 40_000;
/** How often a query is sent at most: lines break, and a query can be repeated. */
const QUERY_ATTEMPTS = 6;

/** Called before each request in the name of the account; throws if it must not be sent. */
type Guard = () => void;
/** Called with each top-level error. */
type Listener = (error: ApiError) => void;

let guard: Guard = () => {};
let listener: Listener = () => {};
let account: string | null = null;

/** Sets what is called before each request and with each error. */
export function observe(beforeRequest: Guard, onError: Listener): void {
  // What a page reads is not read again because the session has changed.
  guard = () => untrack(beforeRequest);
  listener = onError;
}

/** Sets the account that this page shows. The server rejects requests that come with another one's cookie. */
export function identify(id: string | null): void {
  account = id;
}

/** Returns the headers of a request. Without the first one the server ignores the cookie. */
export function headers(): Record<string, string> {
  return { "ticketwire-client": "portal", ...shownAccount() };
}

/** Returns the account that this page shows, as the server expects it. */
export function shownAccount(): Record<string, string> {
  return account ? { "ticketwire-account": account } : {};
}

/** Sends an operation and returns its data. Throws an `ApiError` if it failed. */
export async function request<Data, Variables>(
  document: Operation<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const { data, error } = await attempt(document, variables);
  if (error) throw error;
  return data as Data;
}

/** Like `request`, for what an address names: what does not exist, or is hidden, is null. */
export async function find<Data, Variables>(document: Operation<Data, Variables>, variables: Variables): Promise<Data> {
  const { data, error } = await attempt(document, variables);
  if (error && (error.code !== "NOT_FOUND" || !data)) throw error;
  return data as Data;
}

/** Sends an operation and returns the data that there is, and the first error if there is one. */
export async function attempt<Data, Variables>(
  document: Operation<Data, Variables>,
  variables: Variables,
): Promise<{ data: Data | null; error: ApiError | null }> {
  guard();
  const answer = await postRepeatedly(document, variables);
  return { data: (answer.data ?? null) as Data | null, error: errorOf(answer) };
}

/** Like `attempt`, in the name of the person whom the cookie belongs to, and without the listener. */
export async function attemptAsAnybody<Data, Variables>(
  document: Operation<Data, Variables>,
  variables: Variables,
): Promise<{ data: Data | null; error: ApiError | null }> {
  const { data, errors } = await post(document, variables, { "ticketwire-client": "portal" });
  return { data: (data ?? null) as Data | null, error: errors?.[0] ? convert(errors[0]) : null };
}

/** Returns the first error of an answer, after the listener has seen it. */
export function errorOf(answer: Answer): ApiError | null {
  const [first] = answer.errors ?? [];
  if (!first) return null;
  return toApiError(first);
}

/** Converts an error of the server, and passes it to the listener. */
export function toApiError(graphqlError: GraphqlError): ApiError {
  const error = convert(graphqlError);
  listener(error);
  return error;
}

function convert({ extensions }: GraphqlError): ApiError {
  const code = (extensions?.code ?? "INTERNAL") as ErrorCode;
  return new ApiError(code, extensions?.retryAfterSeconds, extensions?.requestId);
}

async function postRepeatedly(document: object, variables: unknown): Promise<Answer> {
  const isQuery = textOf(document).trimStart().startsWith("query");
  // Another person may have signed in before the last attempt.
  const sent = headers();
  for (let attempts = 1; isQuery && attempts < QUERY_ATTEMPTS; attempts += 1) {
    try {
      return await post(document, variables, sent);
    } catch {
      await pause(attempts - 1);
      guard();
    }
  }
  return post(document, variables, sent);
}

async function post(document: object, variables: unknown, sent: Record<string, string>): Promise<Answer> {
  try {
    const response = await fetch("/graphql", {
      method: "POST",
      headers: { ...sent, "content-type": "application/json" },
      body: JSON.stringify({ query: textOf(document), variables }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return (await response.json()) as Answer;
  } catch {
    // No answer, or one of something else on the way: a proxy's page, a captive portal.
    throw new ApiError("OFFLINE");
  }
}

/** Checks that a request that does not go through `request` may be sent. */
export function guardRequest(): void {
  guard();
}
