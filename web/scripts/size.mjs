// Fails if the JavaScript and CSS of a first visit, compressed with brotli, exceed the budget.
// A first visit loads the entry with its static imports, one language, and one page.
import { readFileSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";

const BUDGET = 40_000;
const FIRST_PAGES = ["src/portal/pages/SignIn.svelte", "src/portal/pages/Home.svelte"];
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

/** Returns the compressed size of a first visit to the page in the language, in bytes. */
function firstVisit(page, language) {
  const files = new Set();
  for (const key of ["index.html", page, `src/shared/i18n/${language}.ts`]) collect(key, files);
  const size = (file) => brotliCompressSync(readFileSync(`dist/${file}`)).length;
  return [...files].reduce((sum, file) => sum + size(file), 0);
}

let failed = false;
for (const page of FIRST_PAGES) {
  for (const language of ["en", "ru"]) {
    const bytes = firstVisit(page, language);
    failed ||= bytes > BUDGET;
    console.log(`${page} (${language}): ${bytes} of ${BUDGET} bytes`);
  }
}
process.exitCode = failed ? 1 : 0;
