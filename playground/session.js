// The session. Its token is stored in this browser tab's session storage only.

import { request } from "./request.js";

const KEY = "ticketwire:session";
const VIEWER = "query Viewer { viewer { name email role } }";
const SIGN_IN = `mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { session { token } userErrors { message } }
}`;
const SIGN_OUT = "mutation SignOut { signOut { signedOut } }";

const listeners = [];
let state = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
// During a sign-out the server closes the live connection. The session has not expired then.
let isSigningOut = false;

/** The token for requests, or undefined if nobody is signed in. */
export const token = () => state.token;

/** The signed-in account's name, email and role, or undefined. */
export const account = () => (state.token ? state.account : undefined);

/** The account whose session has expired and has not been replaced, or undefined. */
export const expired = () => (state.token ? undefined : state.account);

/** Calls `listener` when the session changes, begins or ends. */
export const onChange = (listener) => listeners.push(listener);

function setState(next) {
  state = next;
  sessionStorage.setItem(KEY, JSON.stringify(state));
  listeners.forEach((listener) => listener());
}

/** Starts to use a new session. */
export async function begin(newToken) {
  const { data } = await request({ query: VIEWER }, newToken);
  if (!data?.viewer) throw new Error("The new session does not work.");
  setState({ token: newToken, account: data.viewer });
}

/** Stops using a session. */
export const end = () => setState({});

/** Marks the session as expired, if `usedToken` is still its token. */
export function expire(usedToken) {
  if (usedToken && usedToken === state.token && !isSigningOut) setState({ account: state.account });
}

/** Signs in. Throws an error with the reasons on failure. */
export async function signIn(email, password) {
  const variables = { input: { email, password } };
  const { data, errors } = await request({ query: SIGN_IN, variables });
  const newToken = data?.signIn.session?.token;
  if (newToken) return begin(newToken);
  const problems = errors ?? data.signIn.userErrors;
  throw new Error(problems.map((problem) => problem.message).join(" "));
}

/** Ends the session: here in any case, and on the server if it responds. */
export async function signOut() {
  await signingOut(() => request({ query: SIGN_OUT }, token()).catch(() => undefined));
  end();
}

/** Runs a request that signs out. */
export async function signingOut(run) {
  isSigningOut = true;
  try {
    return await run();
  } finally {
    isSigningOut = false;
  }
}
