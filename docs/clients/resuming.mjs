/**
 * Makes the subscriptions of a graphql-ws or graphql-sse client resume where they stopped.
 * When such a client reconnects, it sends the variables of the subscription again: the
 * same object, with the values that it has by then. So this moves `after` on that object,
 * once the message has been processed.
 */
export function resuming(client) {
  return {
    ...client,
    subscribe(request, sink) {
      const variables = { ...request.variables };
      return client.subscribe(
        { ...request, variables },
        {
          next(result) {
            sink.next(result);
            const [message] = Object.values(result.data ?? {});
            if (message?.cursor) variables.after = message.cursor;
          },
          error: (error) => sink.error(error),
          complete: () => sink.complete(),
        },
      );
    },
  };
}
