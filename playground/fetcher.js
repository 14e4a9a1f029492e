// What GraphiQL sends its operations with.

import * as editor from "./editor.js";
import * as notices from "./notices.js";
import { request, unauthenticated } from "./request.js";
import * as session from "./session.js";
import * as tour from "./tour.js";
import * as streams from "./streams.js";

/** Executes an operation: a result, or for a subscription something to observe. */
export async function fetcher({ query, variables, operationName }) {
  const definition = chosen(query, operationName);
  // Just after a click on another tab GraphiQL still gives the earlier tab's name.
  const name = definition?.name?.value ?? operationName;
  const operation = { query, variables: variables ?? {}, operationName: name };
  if (definition?.operation === "subscription") return subscribe(operation, definition);
  const fields = rootFields(definition);
  const send = () => request(operation, token);
  const token = session.token();
  const result = await (fields.signOut ? session.departing(send) : send());
  if (definition?.operation === "mutation") await learn(fields, result.data);
  if (unauthenticated(result.errors)) refused(token);
  return result;
}

/** The operation of a document that is to be executed, if it has one. */
function chosen(query, operationName) {
  const operations = definitions(query).filter(({ kind }) => kind === "OperationDefinition");
  return operations.find(({ name }) => name?.value === operationName) ?? only(operations);
}

/** What a document defines; nothing where it can't be read: the server says why. */
function definitions(query) {
  try {
    return GraphiQL.GraphQL.parse(query).definitions;
  } catch {
    return [];
  }
}

const only = (list) => (list.length === 1 ? list[0] : undefined);

/** The names that an operation's fields have in the answer, by their own names. */
function rootFields(definition) {
  const fields = definition?.selectionSet.selections.filter(({ kind }) => kind === "Field") ?? [];
  return Object.fromEntries(fields.map(({ name, alias }) => [name.value, (alias ?? name).value]));
}

/** Takes over what a mutation means for the page. */
async function learn(fields, data) {
  if (!data) return;
  const signedIn = fields.signIn ?? fields.verifySecondFactor ?? fields.redeemHandoff;
  const token = data[signedIn]?.session?.token;
  if (token) await session.begin(token);
  if (data[fields.signOut]) session.end();
  const ticket = data[fields.createTicket]?.ticket;
  if (ticket?.id) tour.opened(ticket);
}

function refused(token) {
  if (token) return session.expire(token);
  notices.show("session", "info", "This needs a session: run the tab SignIn, or pick an account above.");
}

function subscribe(operation, definition) {
  const tab = editor.tab();
  const running = streams.of(tab);
  const isRunning = running && !["ended", "failed"].includes(running.state);
  const name = definition.name?.value ?? "Subscription";
  const stream = isRunning ? running : streams.begin(tab, name, operation, cursorVariable(definition));
  // GraphiQL stops a stream when another tab is looked at, too: then it goes on in the
  // list of live streams. Which of the two it was is known when the click is over.
  return streams.observe(stream, () => setTimeout(() => tab === editor.tab() && streams.close(tab)));
}

/** The variable that an operation passes as `after`. */
function cursorVariable({ selectionSet }) {
  const after = selectionSet.selections[0].arguments?.find(({ name }) => name.value === "after");
  return after?.value.kind === "Variable" ? after.value.name.value : undefined;
}
