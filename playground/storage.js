// Where GraphiQL keeps its state: in this tab, because an operation's variables may be a
// password. Only the choice of dark or light outlives the tab.

const PREFIX = "graphiql:";
const LASTING = "graphiql:theme";

const placeOf = (key) => (key === LASTING ? localStorage : sessionStorage);
const ours = () => Object.keys(sessionStorage).filter((key) => key.startsWith(PREFIX));

export const storage = {
  getItem: (key) => placeOf(key).getItem(key),
  setItem: (key, value) => placeOf(key).setItem(key, value),
  removeItem: (key) => placeOf(key).removeItem(key),
  clear: () => ours().forEach((key) => sessionStorage.removeItem(key)),
  get length() {
    return ours().length;
  },
};

/** Has GraphiQL begin with the tab that was looked at last, or with the first one. It takes
    the text of its editors from elsewhere than its tabs, and makes a tab more of a
    difference between the two. */
export function recall(first) {
  const { tabs, activeTabIndex } = JSON.parse(storage.getItem("graphiql:tabState")) ?? {};
  const { query, variables } = tabs?.[activeTabIndex] ?? first;
  storage.setItem("graphiql:query", query ?? "");
  storage.setItem("graphiql:variables", variables ?? "");
}
