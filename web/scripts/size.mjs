// Fails if the JavaScript and CSS of a first visit, compressed with brotli, exceed the budget of its entry.
// A first visit loads the entry with its static imports, one language, and one page.
import { readFileSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";

const VISITS = [
  { entry: "index.html", budget: 40_000, page: "src/shared/pages/SignIn.svelte", texts: ["shared"] },
  { entry: "index.html", budget: 40_000, page: "src/portal/pages/Home.svelte", texts: ["shared"] },
  { entry: "desk.html", budget: 90_000, page: "src/shared/pages/SignIn.svelte", texts: ["shared", "desk"] },
  { entry: "desk.html", budget: 90_000, page: "src/desk/pages/Queue.svelte", texts: ["shared", "desk"] },
  { entry: "desk.html", budget: 90_000, page: "src/desk/pages/Ticket.svelte", texts: ["shared", "desk"] },
];
const manifest = JSON.parse(readFileSync("dist/.vite/manifest.json", "utf8"));

/** Adds the chunk's files, and those of what it imports, to `files`. */
function collect(key, files) {
  const chunk = manifest[key];
  if (!chunk) throw new Error(`${key} is not in the manifest`);
  if (files.has(chunk.file)) return;
  files.add(chunk.file);
  for (const css of chunk.css ?? []) files.add(css);
  for (const imported of chunk.imports ?? []) collect(imported, files);
}

/** Returns the compressed size of a first visit in the language, in bytes. */
function sizeOf({ entry, page, texts }, language) {
  const files = new Set();
  for (const key of [entry, page, ...texts.map((owner) => `src/${owner}/i18n/${language}.ts`)]) collect(key, files);
  const size = (file) => brotliCompressSync(readFileSync(`dist/${file}`)).length;
  return [...files].reduce((sum, file) => sum + size(file), 0);
}

let failed = false;
for (const visit of VISITS) {
  for (const language of ["en", "ru"]) {
    const bytes = sizeOf(visit, language);
    failed ||= bytes > visit.budget;
    console.log(`${visit.entry} with ${visit.page} (${language}): ${bytes} of ${visit.budget} bytes`);
  }
}
process.exitCode = failed ? 1 : 0;
