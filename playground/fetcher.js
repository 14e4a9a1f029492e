// Executes the operations of GraphiQL.

import * as editor from "./editor.js";
import * as notices from "./notices.js";
import { isUnauthenticated, request } from "./request.js";
import * as session from "./session.js";
import * as streams from "./streams.js";
import * as tour from "./tour.js";

/** Executes an operation. Returns its result, or for a subscription an observable. */
export async function fetcher({ query, variables, operationName }) {
  const definition = findOperation(query, operationName);
  // Right after a switch of tabs, GraphiQL still passes the name of the previous tab.
  const name = definition?.name?.value ?? operationName;
  const operation = { query, variables: variables ?? {}, operationName: name };
  if (definition?.operation === "subscription") return subscribe(operation, definition);
  const fields = rootFields(definition);
  const token = session.token();
  const send = () => request(operation, token);
  const result = await (fields.signOut ? session.signingOut(send) : send());
  if (definition?.operation === "mutation") await apply(fields, result.data);
  if (isUnauthenticated(result.errors)) onUnauthenticated(token);
  return result;
}

/** The operation to execute: the one with the name, or the only one of the document. */
function findOperation(query, operationName) {
  const operations = definitions(query).filter(({ kind }) => kind === "OperationDefinition");
  const named = operations.find(({ name }) => name?.value === operationName);
  return named ?? (operations.length === 1 ? operations[0] : undefined);
}

/** The definitions of a document. Empty if it cannot be parsed: the server explains why. */
function definitions(query) {
  try {
    return GraphiQL.GraphQL.parse(query).definitions;
  } catch {
    return [];
  }
}

/** Maps the names of an operation's root fields to their keys in the response. */
function rootFields(definition) {
  const fields = definition?.selectionSet.selections.filter(({ kind }) => kind === "Field") ?? [];
  return Object.fromEntries(fields.map(({ name, alias }) => [name.value, (alias ?? name).value]));
}

/** Applies the result of a mutation to the page: a new session, a sign-out, a new ticket. */
async function apply(fields, data) {
  if (!data) return;
  const signedIn = fields.signIn ?? fields.verifySecondFactor ?? fields.redeemHandoff;
  const token = data[signedIn]?.session?.token;
  if (token) await session.begin(token);
  if (data[fields.signOut]) session.end();
  const ticket = data[fields.createTicket]?.ticket;
  if (ticket?.id) tour.useTicket(ticket);
}

function onUnauthenticated(token) {
  if (token) return session.expire(token);
  notices.show("session", "info", "This operation needs a session. Run the tab SignIn, or choose an account above.");
}

function subscribe(operation, definition) {
  const tab = editor.activeTab();
  const running = streams.of(tab);
  const isRunning = running && !["ended", "failed"].includes(running.state);
  const name = definition.name?.value ?? "Subscription";
  const stream = isRunning ? running : streams.begin(tab, name, operation, cursorVariable(definition));
  // GraphiQL also stops reading when the user switches tabs. The stream then keeps running
  // in the list of live streams. After the click it is clear which of the two happened.
  return streams.observe(stream, () => setTimeout(() => tab === editor.activeTab() && streams.close(tab)));
}

/** The name of the variable that a subscription passes as `after`. */
function cursorVariable({ selectionSet }) {
  const after = selectionSet.selections[0].arguments?.find(({ name }) => name.value === "after");
  return after?.value.kind === "Variable" ? after.value.name.value : undefined;
}
