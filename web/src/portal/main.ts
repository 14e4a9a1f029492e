import { mount } from "svelte";
import { start as startRouter } from "../shared/router.svelte";
import { start as startSession } from "../shared/session.svelte";
import App from "./App.svelte";
import { isOurs } from "./routes";

// After an upgrade of the server the chunks of this page are gone. Drafts outlive the reload.
addEventListener("vite:preloadError", (event) => {
  event.preventDefault();
  location.reload();
});

startRouter(isOurs);
void startSession();
mount(App, { target: document.getElementById("app")! });
