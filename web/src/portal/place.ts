/** Returns the place of a request in a category, which may continue the ticket with a number. */
export function placeOf(slug: string, follows?: string): string {
  return follows ? `new:${slug}:${follows}` : `new:${slug}`;
}
