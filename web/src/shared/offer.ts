import { session } from "./session.svelte";

/** Where this tab notes that it has offered a second factor. */
const OFFER = "ticketwire:offer";

/** Acts on what the server says about second factors after a sign-in. */
export function afterSignIn(advice: "CONFIGURED" | "OFFERED" | "REQUIRED"): void {
  session.mustProtect = advice === "REQUIRED";
  if (advice === "OFFERED" && localStorage.getItem(OFFER) === null) localStorage.setItem(OFFER, "open");
}

/** Returns whether the offer of a second factor waits for an answer in this browser. */
export function isOffered(): boolean {
  return localStorage.getItem(OFFER) === "open";
}

/** Doesn't show the offer again. */
export function declineOffer(): void {
  localStorage.setItem(OFFER, "answered");
}
