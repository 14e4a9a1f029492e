import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, authorization, follow, url } from "./common.mjs";
import { resuming } from "./resuming.mjs";

const client = resuming(
  createClient({
    url: url.replace(/^http/, "ws"),
    // Browsers have a built-in one.
    webSocketImpl: WebSocket,
    // Called for each connection, so the token may be a new one.
    connectionParams: authorization,
    retryAttempts: Infinity,
    // The token was rejected: sign in before the next attempt.
    shouldRetry: (event) => event.code !== 4403,
  }),
);

await follow((after, sink) => client.subscribe({ query: EVENTS, variables: { after } }, sink));
