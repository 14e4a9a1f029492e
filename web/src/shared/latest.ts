/** Returns a function that reads and shows an answer. It does nothing, also if it fails, once a later reading has begun. */
export function latest<T>(read: () => Promise<T>, show: (answer: T) => void): () => Promise<void> {
  let turn = 0;
  return async () => {
    const own = ++turn;
    try {
      const answer = await read();
      if (own === turn) show(answer);
    } catch (error) {
      if (own === turn) throw error;
    }
  };
}
