import { start } from "../shared/start";
import App from "./App.svelte";
import { addTexts } from "./i18n";
import { routes } from "./routes";

addTexts();
start("/desk", routes, App);
