import { createClient } from "graphql-sse";
import { EVENTS, authorization, follow, url } from "./common.mjs";
import { resuming } from "./resuming.mjs";

const client = resuming(
  createClient({
    url,
    // Called for each connection, so the token may be a new one.
    headers: authorization,
    retryAttempts: Infinity,
  }),
);

await follow((after, sink) => client.subscribe({ query: EVENTS, variables: { after } }, sink));
