// The client of the API: one request a call, the session in a cookie that no script can read.
import { textOf, type Operation } from "./document";

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

  /** Whether the same request can succeed later, and whether it may have been executed. */
  get isTransient(): boolean {
    return ["OFFLINE", "UNAVAILABLE", "TIMEOUT", "INTERNAL"].includes(this.code);
  }
}

interface GraphqlError {
  extensions?: { code?: string; retryAfterSeconds?: number; requestId?: string };
}

interface Answer {
  data?: unknown;
  errors?: GraphqlError[];
}

/** Without this header the server ignores the cookie. */
export const HEADERS = { "Ticketwire-Client": "portal" };

const TIMEOUT_MS = 40_000;

/** Called before each mutation; throws if it must not be sent. */
type Guard = () => void;
/** Called with each top-level error. */
type Listener = (error: ApiError) => void;

let guard: Guard = () => {};
let listener: Listener = () => {};

/** Sets what is called before each mutation and with each error. */
export function observe(beforeMutation: Guard, onError: Listener): void {
  guard = beforeMutation;
  listener = onError;
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

/** Sends an operation and returns the data that there is, and the first error if there is one. */
export async function attempt<Data, Variables>(
  document: Operation<Data, Variables>,
  variables: Variables,
): Promise<{ data: Data | null; error: ApiError | null }> {
  const query = textOf(document);
  if (query.trimStart().startsWith("mutation")) guard();
  const answer = await post(JSON.stringify({ query, variables }));
  return { data: (answer.data ?? null) as Data | null, error: errorOf(answer) };
}

/** Returns the first error of an answer, after the listener has seen it. */
export function errorOf(answer: Answer): ApiError | null {
  const [first] = answer.errors ?? [];
  if (!first) return null;
  return toApiError(first);
}

/** Converts an error of the server, and passes it to the listener. */
export function toApiError({ extensions }: GraphqlError): ApiError {
  const error = new ApiError(
    (extensions?.code ?? "INTERNAL") as ErrorCode,
    extensions?.retryAfterSeconds,
    extensions?.requestId,
  );
  listener(error);
  return error;
}

async function post(body: string): Promise<Answer> {
  try {
    const response = await fetch("/graphql", {
      method: "POST",
      headers: { ...HEADERS, "content-type": "application/json" },
      body,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return (await response.json()) as Answer;
  } catch {
    // No answer, or one of something else on the way: a proxy's page, a captive portal.
    throw new ApiError("OFFLINE");
  }
}

/** Checks that a mutation may be sent in a request that does not go through `request`. */
export function guardMutation(): void {
  guard();
}
