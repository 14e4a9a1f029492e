// Compresses the files of a build, for the binary: `node scripts/pack.js dist <folder>`. Writes each file as
// `<name>.br` and `<name>.gz`, and the list of their names. Hidden files are for other scripts.

import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const [from, to] = process.argv.slice(2);

function files(folder) {
  return readdirSync(folder)
    .filter((name) => !name.startsWith("."))
    .sort()
    .map((name) => join(folder, name))
    .flatMap((path) => (statSync(path).isDirectory() ? files(path) : [path]));
}

rmSync(to, { recursive: true, force: true });
const names = files(from).map((path) => {
  const name = relative(from, path).split(sep).join("/");
  const bytes = readFileSync(path);
  const target = join(to, name);
  mkdirSync(dirname(target), { recursive: true });
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  writeFileSync(`${target}.br`, brotliCompressSync(bytes, { params }));
  writeFileSync(`${target}.gz`, gzipSync(bytes, { level: 9 }));
  return name;
});
writeFileSync(join(to, "names"), names.join("\n"));
