// Who is signed in. The token is in this tab's session storage and nowhere else.

import { request } from "./request.js";

const KEY = "ticketwire:session";
const VIEWER = "query Viewer { viewer { name email role } }";
const SIGN_IN = `mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { session { token } userErrors { message } }
}`;
const SIGN_OUT = "mutation SignOut { signOut { signedOut } }";

const listeners = [];
let state = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
// A sign-out closes the live connection too: that is no session that has expired.
let leaving = false;

/** The token that requests carry; undefined where nobody is signed in. */
export const token = () => state.token;

/** Who is signed in: name, email, role. */
export const account = () => (state.token ? state.account : undefined);

/** Whose session has ended by itself and wasn't replaced yet. */
export const expired = () => (state.token ? undefined : state.account);

/** Calls `listener` whenever another session, or none, is used from now on. */
export const onChange = (listener) => listeners.push(listener);

function become(next) {
  state = next;
  sessionStorage.setItem(KEY, JSON.stringify(state));
  listeners.forEach((listener) => listener());
}

/** Uses the session of a `signIn` from now on. */
export async function begin(newToken) {
  const { data } = await request({ query: VIEWER }, newToken);
  if (!data?.viewer) throw new Error("The new session doesn't work.");
  become({ token: newToken, account: data.viewer });
}

/** Uses no session from now on. */
export const end = () => become({});

/** Notes that the server no longer takes the session of `usedToken`. */
export function expire(usedToken) {
  if (usedToken && usedToken === state.token && !leaving) become({ account: state.account });
}

/** Signs in; gives what is wrong, where something is. */
export async function signIn(email, password) {
  const variables = { input: { email, password } };
  const { data, errors } = await request({ query: SIGN_IN, variables });
  const newToken = data?.signIn.session?.token;
  if (newToken) return begin(newToken);
  const problems = errors ?? data.signIn.userErrors;
  throw new Error(problems.map((problem) => problem.message).join(" "));
}

/** Ends the session, on the server where it answers, and here in any case. */
export async function signOut() {
  await departing(() => request({ query: SIGN_OUT }, token()).catch(() => undefined));
  end();
}

/** Runs a request that may end the session. */
export async function departing(run) {
  leaving = true;
  try {
    return await run();
  } finally {
    leaving = false;
  }
}
