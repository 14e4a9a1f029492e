// Access to GraphiQL's state: its tabs and editors.

import * as streams from "./streams.js";
import * as tour from "./tour.js";

let context;
let execution;

/** The id of the active tab. */
export const activeTab = () => context?.tabs[context.activeTabIndex]?.id;

/** Updates the visible variables: the id of the tour's ticket, and the cursor of the tab's stream. */
export function refresh() {
  const editor = context?.variableEditor;
  const before = editor?.getValue();
  if (!before) return;
  const after = withCursor(tour.withTicket(before), streams.of(activeTab()));
  if (after !== before) editor.setValue(after);
}

/** Returns the variables with the stream's cursor. */
function withCursor(text, stream) {
  const cursor = stream?.after && stream.operation.variables[stream.after];
  if (!cursor) return text;
  try {
    const variables = JSON.parse(text);
    if (variables[stream.after] === cursor) return text;
    return JSON.stringify({ ...variables, [stream.after]: cursor }, null, 2);
  } catch {
    // Incomplete JSON: the user is typing.
    return text;
  }
}

/** An invisible component in GraphiQL's toolbar. Only components have access to its state. */
export function Bridge() {
  const { useEditorContext, useExecutionContext } = GraphiQL.React;
  context = useEditorContext({ nonNull: true });
  execution = useExecutionContext({ nonNull: true });
  const isReady = Boolean(context.queryEditor && context.variableEditor && context.responseEditor);
  // Before the tab is drawn, so that no operation runs with outdated variables.
  React.useLayoutEffect(() => {
    if (!isReady) return;
    // So that the tour's comments can be read without scrolling.
    context.queryEditor.setOption("lineWrapping", true);
    refresh();
  }, [activeTab(), isReady]);
  React.useEffect(() => {
    if (!isReady) return;
    // The stream kept running while another tab was active: show it again.
    if (streams.of(activeTab())) execution.run();
  }, [activeTab(), isReady]);
  return null;
}

tour.onChange(refresh);
streams.onChange((stream) => stream.tab === activeTab() && refresh());
