/** Returns a function that reads and shows an answer. It does nothing, also if it fails, once a later reading has begun. */
export function latest<A extends unknown[], T>(
  read: (...args: A) => Promise<T>,
  show: (answer: T, ...args: A) => void,
): (...args: A) => Promise<void> {
  let turn = 0;
  return async (...args) => {
    const own = ++turn;
    try {
      const answer = await read(...args);
      if (own === turn) show(answer, ...args);
    } catch (error) {
      if (own === turn) throw error;
    }
  };
}
