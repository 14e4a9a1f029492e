// Who is signed in. The session itself is in a cookie; here is only the account.
import { ApiError, asApiError, attemptAsAnybody, identify, observe, request } from "./api/client";
import { graphql } from "./api/document";
import { hangUpLater } from "./api/lazy";
import { pause } from "./api/pause";
import { saveText } from "./drafts";
import { locale, preferred, speak } from "./i18n/index.svelte";
import { checkVersion } from "./upgrade.svelte";
import type { ResultOf } from "gql.tada";

const BOOT = graphql(`
  query Boot {
    viewer { id name email locale role secondFactors { method } }
    branding { name color logoUrl imprintUrl privacyUrl }
  }
`);
const SIGN_OUT = graphql(`
  mutation SignOut { signOut { signedOut } }
`);

type Viewer = NonNullable<ResultOf<typeof BOOT>["viewer"]>;
type Branding = ResultOf<typeof BOOT>["branding"];

/** The account that the browser's cookie belongs to, shared by all tabs. */
const ACCOUNT = "ticketwire:account";

/** The state of the session. `viewer` is null if nobody is signed in. */
export const session = $state({
  isReady: false,
  failure: null as ApiError | null,
  viewer: null as Viewer | null,
  branding: null as Branding | null,
  /** How many of the viewer's tickets are open, and how many unread, as far as their notifications tell. */
  tickets: null as { open: number; unread: number } | null,
  /** The session has ended while the page was open. */
  hasEnded: false,
  /** Another person has signed in in another tab, so this one may not send anything. */
  isReplaced: false,
  /** The account must configure a second factor before anything else. */
  mustProtect: false,
});

/** Whom the server is being asked about. */
let asked: Viewer | null = null;

/** What ends when a person signs out, or another one signs in: all that is not of this account. */
export const leaving = new Set<(account: string | null) => void>();

/** Reads who is signed in, and follows what happens to the session. */
export async function start(): Promise<void> {
  observe(refuseForOthers, noteError);
  addEventListener("storage", ({ key }) => key === ACCOUNT && compare());
  addEventListener("pageshow", ({ persisted }) => persisted && compare());
  for (let attempts = 0; !(await read()); attempts += 1) await pause(attempts);
}

/** Reads the account and the branding again. Returns false if the server can't be reached. */
export async function read(): Promise<boolean> {
  try {
    const { data, error } = await attemptAsAnybody(BOOT, {});
    if (error && error.code !== "UNAUTHENTICATED") session.failure = error;
    else await begin(data?.viewer ?? null, data?.branding ?? null);
  } catch (error) {
    session.failure = asApiError(error);
  }
  session.isReady = true;
  return !session.failure?.isTransient;
}

async function begin(viewer: Viewer | null, branding: Branding | null): Promise<void> {
  await speak(viewer?.locale ?? (session.viewer ? locale() : preferred()));
  session.failure = null;
  session.branding = branding ?? session.branding;
  if (viewer) session.hasEnded = false;
  identify(viewer?.id ?? null);
  session.viewer = viewer;
  saveText(ACCOUNT, viewer?.id ?? "");
  // Whose session has ended may sign in again and go on.
  if (viewer) for (const leave of leaving) leave(viewer.id);
}

/** Takes over which second factors the account has: actions that must be confirmed ask for one of them. */
export function noteFactors(factors: Viewer["secondFactors"] | undefined): void {
  if (session.viewer && factors) session.viewer.secondFactors = factors;
}

/** Ends the session on the server and in all tabs. */
export async function signOut(): Promise<void> {
  await request(SIGN_OUT, {});
  saveText(ACCOUNT, "");
  for (const leave of leaving) leave(null);
  forget();
}

function forget(): void {
  identify(null);
  session.viewer = null;
  session.mustProtect = false;
}

function noteError(error: ApiError): void {
  if (error.code === "SECOND_FACTOR_REQUIRED") session.mustProtect = true;
  // An old page may send what a new server does not understand.
  if (error.code === "BAD_REQUEST") void checkVersion();
  if (error.code === "UNAUTHENTICATED" && session.viewer) void ask();
}

/** Asks the server until it says whose session the cookie is, after it has rejected one in the account's name. */
async function ask(): Promise<void> {
  const shown = session.viewer;
  if (asked === shown) return;
  asked = shown;
  // They may sign in again meanwhile.
  for (let attempts = 0; shown === session.viewer && !(await isClear(shown)); attempts += 1) await pause(attempts);
  if (asked === shown) asked = null;
}

/** Asks once. Returns false if the server doesn't say. */
async function isClear(shown: Viewer | null): Promise<boolean> {
  const { data, error } = await attemptAsAnybody(BOOT, {}).catch((failure) => ({ data: null, error: asApiError(failure) }));
  if (shown !== session.viewer) return true;
  if (data?.viewer && data.viewer.id !== shown?.id) replace();
  else if (error?.code === "UNAUTHENTICATED") end();
  return !error?.isTransient;
}

/** The cookie is that of the person who has signed in last, and so would be whatever is sent. */
function refuseForOthers(): void {
  if (session.viewer) compare();
  if (session.isReplaced) throw new ApiError("OTHER_ACCOUNT");
}

function compare(): void {
  const current = localStorage.getItem(ACCOUNT);
  if (current === null) return;
  if (!session.viewer) {
    if (current) void read();
  } else if (current === "") end();
  else if (current !== session.viewer.id) replace();
}

function end(): void {
  session.hasEnded = true;
  forget();
}

function replace(): void {
  if (session.isReplaced) return;
  session.isReplaced = true;
  hangUpLater();
}
