import { start } from "../shared/start";
import App from "./App.svelte";
import { routes } from "./routes";

start("", routes, App);
