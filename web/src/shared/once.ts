/** Returns a function that does nothing while it runs for the same key: a double click counts once. */
export function once<A>(work: (argument: A) => Promise<void>, key: (argument: A) => unknown = () => null): (argument: A) => Promise<void> {
  const running = new Set<unknown>();
  return async (argument) => {
    const own = key(argument);
    if (running.has(own)) return;
    running.add(own);
    try {
      await work(argument);
    } finally {
      running.delete(own);
    }
  };
}
