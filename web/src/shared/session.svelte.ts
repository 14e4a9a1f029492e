// Who is signed in. The session itself is in a cookie; here is only the account.
import { ApiError, attempt, observe, request } from "./api/client";
import { graphql } from "./api/document";
import { locale, preferred, speak } from "./i18n/index.svelte";
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
  /** The session has ended while the page was open. */
  hasEnded: false,
  /** Another tab signed in or out, so this one may not send anything. */
  isReplaced: false,
  /** The account must configure a second factor before anything else. */
  mustProtect: false,
});

/** Reads who is signed in, and follows what happens to the session. */
export async function start(): Promise<void> {
  observe(refuseForOthers, noteError);
  addEventListener("storage", ({ key }) => key === ACCOUNT && compare());
  await read();
}

/** Reads the account and the branding again. */
export async function read(): Promise<void> {
  try {
    const { data, error } = await attempt(BOOT, {});
    if (error && error.code !== "UNAUTHENTICATED") session.failure = error;
    else await begin(data?.viewer ?? null, data?.branding ?? null);
  } catch (error) {
    session.failure = error as ApiError;
  }
  session.isReady = true;
}

async function begin(viewer: Viewer | null, branding: Branding | null): Promise<void> {
  session.failure = null;
  session.branding = branding ?? session.branding;
  session.hasEnded = false;
  await speak(viewer?.locale ?? (session.viewer ? locale() : preferred()));
  session.viewer = viewer;
  localStorage.setItem(ACCOUNT, viewer?.id ?? "");
}

/** Ends the session on the server and in all tabs. */
export async function signOut(): Promise<void> {
  await request(SIGN_OUT, {});
  localStorage.setItem(ACCOUNT, "");
  session.viewer = null;
  session.mustProtect = false;
}

function noteError(error: ApiError): void {
  if (error.code === "SECOND_FACTOR_REQUIRED") session.mustProtect = true;
  if (error.code !== "UNAUTHENTICATED" || !session.viewer) return;
  session.hasEnded = true;
  session.viewer = null;
}

/** A mutation would carry the cookie, so it would be done in the name of whoever signed in last. */
function refuseForOthers(): void {
  compare();
  if (session.isReplaced) throw new ApiError("OTHER_ACCOUNT");
}

function compare(): void {
  const current = localStorage.getItem(ACCOUNT);
  if (session.viewer && current !== null && current !== session.viewer.id) session.isReplaced = true;
}
