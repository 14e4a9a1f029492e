import { createClient } from "graphql-sse";
import { EVENTS, authorization, follow, url } from "./desk.mjs";
import { resuming } from "./resuming.mjs";

const client = resuming(
  createClient({
    url,
    // Asked for at each connection, so that it may be a new token.
    headers: authorization,
    retryAttempts: Infinity,
  }),
);

await follow((after, sink) => client.subscribe({ query: EVENTS, variables: { after } }, sink));
