import { ApolloClient, InMemoryCache, gql } from "@apollo/client/core";
import { CombinedGraphQLErrors } from "@apollo/client/errors";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { EVENTS, authorization, follow, isSignedOut, url } from "./common.mjs";
import { resuming } from "./resuming.mjs";

const socket = createClient({
  url: url.replace(/^http/, "ws"),
  webSocketImpl: WebSocket,
  connectionParams: authorization,
  retryAttempts: Infinity,
  shouldRetry: (event) => event.code !== 4403,
  // Apollo's error for a closed socket has no code.
  on: { closed: isSignedOut },
});
// Apollo copies the variables, so `after` must be moved below its link.
const link = new GraphQLWsLink(resuming(socket));
const client = new ApolloClient({ link, cache: new InMemoryCache() });

await follow((after, sink) => {
  const messages = client.subscribe({
    query: gql(EVENTS),
    variables: { after },
    fetchPolicy: "no-cache",
  });
  const subscription = messages.subscribe({
    next({ data, error }) {
      if (!error) sink.next({ data });
      else if (CombinedGraphQLErrors.is(error)) sink.next({ data, errors: error.errors });
      else sink.error(error.cause ?? error);
    },
    error: sink.error,
    complete: sink.complete,
  });
  return () => subscription.unsubscribe();
});
