import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, authorization, follow, url } from "./desk.mjs";
import { resuming } from "./resuming.mjs";

const client = resuming(
  createClient({
    url: url.replace(/^http/, "ws"),
    // Browsers have one of their own.
    webSocketImpl: WebSocket,
    // Asked for at each connection, so that it may be a new token.
    connectionParams: authorization,
    retryAttempts: Infinity,
    // The token was refused: sign in before the next attempt.
    shouldRetry: (event) => event.code !== 4403,
  }),
);

await follow((after, sink) => client.subscribe({ query: EVENTS, variables: { after } }, sink));
