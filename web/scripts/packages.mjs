// Prints the npm packages of which the build contains code, a line each: `node scripts/packages.mjs`.

import { build } from "vite";

/** Returns the package of a module. Modules whose names begin with a zero byte are those of the tools. */
function owner(id) {
  const virtual = /^\0([^/]+)\//.exec(id);
  if (virtual) return virtual[1];
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1];
}

const built = await build({ logLevel: "error", build: { write: false } });
const modules = [built].flat().flatMap(({ output }) => output.flatMap(({ moduleIds }) => moduleIds ?? []));
const packages = new Set(modules.map(owner).filter((name) => name !== undefined));
console.log([...packages].sort().join("\n"));
