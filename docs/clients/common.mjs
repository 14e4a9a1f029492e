// The steps that all clients here share: sign in, read the state, process messages. Your
// application has its own version of each.

export const url = process.env.TICKETWIRE_URL ?? "http://127.0.0.1:8080/graphql";
const email = process.env.TICKETWIRE_EMAIL ?? "customer@demo.example";
const password = process.env.TICKETWIRE_PASSWORD ?? "ticketwire-demo";

const SIGN_IN = `mutation($email: String!, $password: String!) {
  signIn(input: { email: $email, password: $password }) {
    session { token } userErrors { message } } }`;

// The cursor is older than the rest of the response, so the stream misses nothing. It may
// repeat what is shown here.
const STATE = `{ eventCursor tickets(first: 20) { nodes { number summary status } } }`;

export const EVENTS = `subscription($after: String) { inboxEvents(after: $after) {
  __typename
  ... on TicketEvent { id cursor ticket { number } }
  ... on CommentAdded { comment { body } }
  ... on StatusChanged { toStatus }
  ... on Checkpoint { cursor }
  ... on ResyncRequired { reason } } }`;

async function request(query, variables, headers) {
  const response = await fetch(url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const answer = await response.json();
  if (answer.errors) throw answer.errors;
  return answer.data;
}

let token;

/** Returns the headers for a request; signs in first if there is no session. */
export async function authorization() {
  if (!token) {
    const { signIn } = await request(SIGN_IN, { email, password });
    if (!signIn.session) throw new Error(signIn.userErrors[0]?.message ?? "a code is needed");
    token = signIn.session.token;
  }
  return { authorization: `Bearer ${token}` };
}

/** Returns whether the session has ended, and if so makes the next request sign in again. */
export function isSignedOut(end) {
  const errors = [end].flat().filter(Boolean);
  const over = errors.some(
    (error) =>
      [4401, 4403].includes(error.code) || error.extensions?.code === "UNAUTHENTICATED",
  );
  if (over) token = undefined;
  return over;
}

/** Returns whether this program caused the error, so that retrying doesn't help. */
function isFault(end) {
  const errors = [end].flat().filter(Boolean);
  return errors.some(
    (error) =>
      [1002, 1007, 1009, 4400, 4409, 4429].includes(error.code) || error.extensions?.code === "BAD_REQUEST",
  );
}

/** Shows the current state and returns the cursor to subscribe after. */
async function show() {
  const { eventCursor, tickets } = await request(STATE, {}, await authorization());
  for (const ticket of tickets.nodes) console.log("ticket", ticket.number, ticket.status);
  return eventCursor;
}

/** Processes one message. This example prints it. */
function handle({ __typename, comment, toStatus }) {
  console.log(__typename, comment?.body ?? toStatus ?? "");
}

/**
 * Follows the inbox until the program ends. `subscribe` wraps the library: it takes the
 * cursor to start after, and a sink with `next` (an execution result), `error` and
 * `complete`, and returns a function that ends the subscription.
 */
export async function follow(subscribe) {
  let after;
  for (;;) {
    let unsubscribe;
    try {
      after ??= await show();
      await new Promise((complete, error) => {
        const next = ({ data, errors }) => {
          // An event that was on its way when you lost access to its ticket. The stream goes on.
          if (!data && errors?.every(({ extensions }) => extensions?.code === "NOT_FOUND")) return;
          if (errors) return error(errors);
          const message = data.inboxEvents;
          handle(message);
          // The stream can't continue and completes: read the state again.
          after = message.__typename === "ResyncRequired" ? undefined : message.cursor;
        };
        unsubscribe = subscribe(after, { next, error, complete });
      });
    } catch (end) {
      unsubscribe?.();
      if (isFault(end)) throw end;
      if (!isSignedOut(end)) await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}
