// GraphiQL's own state, as far as the page reads and writes it.

import * as tour from "./tour.js";
import * as streams from "./streams.js";

let context;
let execution;

/** The id of the tab that is looked at. */
export const tab = () => context?.tabs[context.activeTabIndex]?.id;

/** Puts a ticket's id and a stream's cursor where the person sees them. */
export function refresh() {
  const editor = context?.variableEditor;
  const before = editor?.getValue();
  if (!before) return;
  const after = moved(tour.retell(before), streams.of(tab()));
  if (after !== before) editor.setValue(after);
}

/** Variables with a stream's cursor in them. */
function moved(text, stream) {
  const cursor = stream?.after && stream.operation.variables[stream.after];
  if (!cursor) return text;
  try {
    const variables = JSON.parse(text);
    if (variables[stream.after] === cursor) return text;
    return JSON.stringify({ ...variables, [stream.after]: cursor }, null, 2);
  } catch {
    // The person is in the middle of typing.
    return text;
  }
}

/** Sits in GraphiQL's toolbar, unseen, where its state can be had. */
export function Bridge() {
  const { useEditorContext, useExecutionContext } = GraphiQL.React;
  context = useEditorContext({ nonNull: true });
  execution = useExecutionContext({ nonNull: true });
  const isReady = Boolean(context.queryEditor && context.variableEditor && context.responseEditor);
  // Before the tab is seen, so that nobody can press play before.
  React.useLayoutEffect(() => {
    if (!isReady) return;
    // The comments that tell the story are to be read without scrolling.
    context.queryEditor.setOption("lineWrapping", true);
    refresh();
  }, [tab(), isReady]);
  React.useEffect(() => {
    if (!isReady) return;
    // A stream that went on behind other tabs is shown again.
    if (streams.of(tab())) execution.run();
  }, [tab(), isReady]);
  return null;
}

tour.onChange(refresh);
streams.onChange((stream) => stream.tab === tab() && refresh());
