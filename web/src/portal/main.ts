import { mount } from "svelte";
import { start as startRouter } from "../shared/router.svelte";
import { start as startSession } from "../shared/session.svelte";
import { followUpgrades } from "../shared/upgrade.svelte";
import App from "./App.svelte";
import { isOurs } from "./routes";

followUpgrades();
startRouter(isOurs);
void startSession();
mount(App, { target: document.getElementById("app")! });
