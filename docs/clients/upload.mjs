// Opens a ticket with the files named on the command line, and prints a link to each of them
// that works for ten minutes.
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { ApolloClient, InMemoryCache, gql } from "@apollo/client/core";
import UploadHttpLink from "apollo-upload-client/UploadHttpLink.mjs";
import { authorization, url } from "./common.mjs";

const CATEGORIES = gql`{ categories { id } }`;
const CREATE = gql`mutation($input: CreateTicketInput!) { createTicket(input: $input) {
  ticket { number attachments { name size contentType url } }
  userErrors { field message } } }`;

const link = new UploadHttpLink({ uri: url, headers: await authorization() });
const client = new ApolloClient({ link, cache: new InMemoryCache() });

const { data: desk } = await client.query({ query: CATEGORIES });
const read = async (path) => new File([await openAsBlob(path)], basename(path));
const input = {
  categoryId: desk.categories[0].id,
  summary: "Two files",
  description: "They are attached.",
  attachments: await Promise.all(process.argv.slice(2).map(read)),
  // A retry sends the files again; with this key it creates no second ticket.
  idempotencyKey: crypto.randomUUID(),
};
const { data } = await client.mutate({ mutation: CREATE, variables: { input } });
const { ticket, userErrors } = data.createTicket;
for (const { message } of userErrors) console.error(message);
for (const { name, size, contentType, url: path } of ticket?.attachments ?? []) {
  console.log(name, size, contentType, new URL(path, url).href);
}
process.exitCode = ticket ? 0 : 1;
