// The playground: GraphiQL with the operations of the tour as its tabs, one session for all
// tabs, and live streams that keep running when another tab is active.

import { Bridge } from "./editor.js";
import { fetcher } from "./fetcher.js";
import * as header from "./header.js";
import * as link from "./link.js";
import * as live from "./live.js";
import { restoreEditors, storage } from "./storage.js";
import * as streams from "./streams.js";
import * as tour from "./tour.js";

const setup = await (await fetch("playground/setup.json")).json();

tour.begin(setup.operations);
header.begin(setup);
live.begin();
link.open();

const tabs = setup.operations.map(({ query, variables }) => ({ query, variables }));
restoreEditors(tabs[0]);
const known = new Set();

const options = {
  fetcher,
  storage,
  defaultTabs: tabs,
  defaultEditorToolsVisibility: "variables",
  // The session is sent with every request automatically.
  isHeadersEditorEnabled: false,
  shouldPersistHeaders: false,
  toolbar: { additionalComponent: Bridge },
  // A stream ends with its tab.
  onTabChange: ({ tabs }) => {
    const open = new Set(tabs.map(({ id }) => id));
    known.forEach((id) => open.has(id) || streams.close(id));
    known.clear();
    open.forEach((id) => known.add(id));
  },
};
// The header already shows the name.
const noLogo = React.createElement(GraphiQL.Logo, {}, " ");
const app = React.createElement(GraphiQL, options, noLogo);
ReactDOM.createRoot(document.getElementById("graphiql")).render(app);
