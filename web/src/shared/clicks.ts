/** What can be clicked. */
const CONTROLS = "a, button, input, label, select, summary, textarea, [role=option]";

/** What the first click of a series was on, and what stood there then. */
let first: { control: Element | null; name: string } = { control: null, name: "" };

/**
 * Drops the second click of a double click if it meets another control than the first one, or one
 * that says something else by then: what the first click has changed slides under the pointer.
 */
export function dropStrayClicks(): void {
  addEventListener("click", keepOrDrop, true);
}

function keepOrDrop(event: MouseEvent): void {
  // A click by a key belongs to no series.
  if (event.detail === 0) return;
  const control = controlOf(event.target);
  const name = control?.ariaLabel ?? control?.textContent ?? "";
  if (event.detail === 1) first = { control, name };
  if (!control || (control === first.control && name === first.name)) return;
  event.preventDefault();
  event.stopPropagation();
}

/** Returns the control that a click is for. A label is clicked together with its field. */
function controlOf(target: EventTarget | null): Element | null {
  const control = target instanceof Element ? target.closest(CONTROLS) : null;
  return control instanceof HTMLLabelElement ? (control.control ?? control) : control;
}
