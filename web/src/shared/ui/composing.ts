/**
 * Returns whether a key belongs to an input method, such as that of Japanese, which has not finished its text. Safari
 * sends the last one after the end of the composition, with the code 229.
 */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}
