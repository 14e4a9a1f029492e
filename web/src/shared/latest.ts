/** Returns a function that reads and shows an answer, unless a later reading has begun meanwhile. */
export function latest<T>(read: () => Promise<T>, show: (answer: T) => void): () => Promise<void> {
  let turn = 0;
  return async () => {
    const own = ++turn;
    const answer = await read();
    if (own === turn) show(answer);
  };
}
