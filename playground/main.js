// The playground: GraphiQL with the story's operations as its tabs, a session for all of
// them, and live streams that go on.

import { Bridge } from "./editor.js";
import { fetcher } from "./fetcher.js";
import * as header from "./header.js";
import * as link from "./link.js";
import * as live from "./live.js";
import { recall, storage } from "./storage.js";
import * as tour from "./tour.js";
import * as streams from "./streams.js";

const setup = await (await fetch("playground/setup.json")).json();

tour.begin(setup.operations);
header.begin(setup.demo, setup.mailbox);
live.begin();
link.open();

const tabs = setup.operations.map(({ query, variables }) => ({ query, variables }));
recall(tabs[0]);
const known = new Set();

const options = {
  fetcher,
  storage,
  defaultTabs: tabs,
  defaultEditorToolsVisibility: "variables",
  // The session goes with every request by itself.
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
// The header has a name already.
const noLogo = React.createElement(GraphiQL.Logo, {}, " ");
const app = React.createElement(GraphiQL, options, noLogo);
ReactDOM.createRoot(document.getElementById("graphiql")).render(app);
