import { mount, type Component } from "svelte";
import { dropStrayClicks } from "./clicks";
import { entry } from "./entry";
import type { Routes } from "./routes";
import { start as startRouter } from "./router.svelte";
import { start as startSession } from "./session.svelte";
import { followUpgrades } from "./upgrade.svelte";

/** Starts an entry of the app. */
export function start(base: string, routes: Routes, App: Component): void {
  entry.base = base;
  followUpgrades();
  dropStrayClicks();
  startRouter(routes.isOurs);
  void startSession();
  mount(App, { target: document.getElementById("app")! });
}
