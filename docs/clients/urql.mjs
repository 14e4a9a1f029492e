import { Client, subscriptionExchange } from "@urql/core";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, authorization, follow, url } from "./common.mjs";
import { resuming } from "./resuming.mjs";

const socket = resuming(
  createClient({
    url: url.replace(/^http/, "ws"),
    webSocketImpl: WebSocket,
    connectionParams: authorization,
    retryAttempts: Infinity,
    shouldRetry: (event) => event.code !== 4403,
  }),
);
const forwardSubscription = ({ query, variables }) => ({
  subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
});
const client = new Client({ url, exchanges: [subscriptionExchange({ forwardSubscription })] });

await follow((after, sink) => {
  const messages = client.subscription(EVENTS, { after });
  const { unsubscribe } = messages.subscribe(({ data, error, hasNext }) => {
    if (error?.graphQLErrors.length > 0) sink.next({ data, errors: error.graphQLErrors });
    else if (error) sink.error(error.networkError);
    else if (data) sink.next({ data });
    if (!hasNext) sink.complete();
  });
  return unsubscribe;
});
