/**
 * Makes the subscriptions of a graphql-ws or graphql-sse client go on where they were.
 * When it reconnects, such a client sends the variables of the subscription again: the
 * same object, which may have changed since. So `after` moves on it, but only after the
 * message has been dealt with.
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
