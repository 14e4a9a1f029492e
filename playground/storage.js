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
