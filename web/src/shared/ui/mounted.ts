import { onDestroy } from "svelte";

/**
 * Returns whether the component that calls this is still on the page. An answer that comes later must not close or
 * leave what is there by then.
 */
export function mounted(): () => boolean {
  let isMounted = true;
  onDestroy(() => (isMounted = false));
  return () => isMounted;
}
