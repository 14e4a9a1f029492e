// The storage of GraphiQL's state. It belongs to this browser tab, because variables can have
// passwords. Only the choice of a dark or light theme is stored permanently.

const PREFIX = "graphiql:";
const PERMANENT_KEY = "graphiql:theme";

const storageOf = (key) => (key === PERMANENT_KEY ? localStorage : sessionStorage);
const ownKeys = () => Object.keys(sessionStorage).filter((key) => key.startsWith(PREFIX));

export const storage = {
  getItem: (key) => storageOf(key).getItem(key),
  setItem: (key, value) => storageOf(key).setItem(key, value),
  removeItem: (key) => storageOf(key).removeItem(key),
  clear: () => ownKeys().forEach((key) => sessionStorage.removeItem(key)),
  get length() {
    return ownKeys().length;
  },
};

/** Fills GraphiQL's editors with the content of the last active tab, or of the first one.
    GraphiQL stores editors and tabs separately, and opens another tab if they differ. */
export function restoreEditors(first) {
  const { tabs, activeTabIndex } = JSON.parse(storage.getItem("graphiql:tabState")) ?? {};
  const { query, variables } = tabs?.[activeTabIndex] ?? first;
  storage.setItem("graphiql:query", query ?? "");
  storage.setItem("graphiql:variables", variables ?? "");
}
