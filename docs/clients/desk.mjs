// What the clients here share and your own code has in its own way: signing in, reading
// what to show, and what to do with what comes.

export const url = process.env.TICKETWIRE_URL ?? "http://127.0.0.1:8080/graphql";
const email = process.env.TICKETWIRE_EMAIL ?? "customer@demo.example";
const password = process.env.TICKETWIRE_PASSWORD ?? "ticketwire-demo";

const SIGN_IN = `mutation($email: String!, $password: String!) {
  signIn(input: { email: $email, password: $password }) {
    session { token } userErrors { message } } }`;

// The stream may repeat what this shows, and misses nothing: the cursor is from before.
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

/** Signs in where nobody is signed in. */
export async function authorization() {
  if (!token) {
    const { signIn } = await request(SIGN_IN, { email, password });
    if (!signIn.session) throw new Error(signIn.userErrors[0]?.message ?? "a code is needed");
    token = signIn.session.token;
  }
  return { authorization: `Bearer ${token}` };
}

/** Whether an end means that the session has ended: then the next token is a new one. */
export function isSignedOut(end) {
  const errors = [end].flat().filter(Boolean);
  const over = errors.some(
    (error) =>
      [4401, 4403].includes(error.code) || error.extensions?.code === "UNAUTHENTICATED",
  );
  if (over) token = undefined;
  return over;
}

/** Whether an end is this program's fault, so that trying again would be no use. */
function isFault(end) {
  const errors = [end].flat().filter(Boolean);
  return errors.some(
    (error) =>
      [4400, 4406, 4409, 4429].includes(error.code) || error.extensions?.code === "BAD_REQUEST",
  );
}

/** Shows what there is; gives the cursor to go on from. */
async function show() {
  const { eventCursor, tickets } = await request(STATE, {}, await authorization());
  for (const ticket of tickets.nodes) console.log("ticket", ticket.number, ticket.status);
  return eventCursor;
}

/** Deals with one message: here it is printed. */
function handle({ __typename, comment, toStatus }) {
  console.log(__typename, comment?.body ?? toStatus ?? "");
}

/**
 * Follows the inbox for ever. `subscribe` is the library's: it takes the cursor to begin
 * after, and a sink with `next` (an execution result), `error` and `complete`.
 */
export async function follow(subscribe) {
  let after;
  for (;;) {
    try {
      after ??= await show();
      await new Promise((complete, error) => {
        const next = ({ data, errors }) => {
          if (errors) return error(errors);
          const message = data.inboxEvents;
          handle(message);
          // A stream that can't go on says so and completes: everything is read anew.
          after = message.__typename === "ResyncRequired" ? undefined : message.cursor;
        };
        subscribe(after, { next, error, complete });
      });
    } catch (end) {
      if (isFault(end)) throw end;
      if (!isSignedOut(end)) await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}
