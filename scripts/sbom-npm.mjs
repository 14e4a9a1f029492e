// Adds the npm packages of the web app and the playground to a list of the crates in the binary, and prints
// both: `node scripts/sbom-npm.mjs <crates.json> <file with the names of the web app's packages>`.

import { readFileSync } from "node:fs";

const [crates, webNames] = process.argv.slice(2);
const json = (path) => JSON.parse(readFileSync(path, "utf8"));

/** The name of a package at a path of a lock file. */
const nameAt = (path) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);

/** Finds a package as Node.js does: next to the one that needs it, then in each folder above. */
function resolve(packages, from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(folder.lastIndexOf("/node_modules/"), 0))) {
    const path = folder === "" ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (packages[path] !== undefined) return path;
    if (folder === "") return undefined;
  }
}

/** The identity of a package, by the rules of package URLs. */
function url(path, { version }) {
  return `pkg:npm/${nameAt(path).replace("@", "%40")}@${version}`;
}

function component(path, entry) {
  const name = nameAt(path);
  const [algorithm, digest] = entry.integrity.split("-");
  if (algorithm !== "sha512") throw new Error(`${name} has no checksum by SHA-512`);
  if (!entry.license) throw new Error(`${name} has no licence`);
  const [scope, rest] = name.startsWith("@") ? name.split("/") : [undefined, name];
  return {
    type: "library",
    "bom-ref": url(path, entry),
    ...(scope && { group: scope }),
    name: rest,
    version: entry.version,
    scope: "required",
    hashes: [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }],
    licenses: [/\s/.test(entry.license) ? { expression: entry.license } : { license: { id: entry.license } }],
    purl: url(path, entry),
  };
}

/** The packages of a lock file that are chosen, what each needs, and which are needed by the pages themselves. */
function packagesOf(folder, isChosen) {
  const { packages } = json(`${folder}/package-lock.json`);
  const chosen = Object.entries(packages).filter(([path, entry]) => path !== "" && isChosen(path, entry));
  const paths = new Set(chosen.map(([path]) => path));
  const dependencies = chosen.map(([path, entry]) => {
    const names = Object.keys({ ...entry.dependencies, ...entry.optionalDependencies, ...entry.peerDependencies });
    const needed = names.map((name) => resolve(packages, path, name)).filter((found) => paths.has(found));
    return { ref: url(path, entry), dependsOn: [...new Set(needed.map((found) => url(found, packages[found])))].sort() };
  });
  const root = packages[""];
  const direct = Object.keys({ ...root.dependencies, ...root.devDependencies }).map((name) => `node_modules/${name}`);
  return {
    components: chosen.map(([path, entry]) => component(path, entry)),
    dependencies,
    direct: direct.filter((path) => paths.has(path)).map((path) => url(path, packages[path])),
  };
}

/** Appends those that are not there yet. */
function append(list, more, key) {
  const known = new Set(list.map((item) => item[key]));
  list.push(...more.filter((item) => !known.has(item[key]) && known.add(item[key])));
}

const bom = json(crates);
const names = new Set(readFileSync(webNames, "utf8").split("\n").filter((name) => name !== ""));
// What others have bundled is listed in the versions of our lock file.
const playground = packagesOf("playground", (path, entry) => !entry.dev && !nameAt(path).startsWith("@types/"));
const web = packagesOf("web", (path) => names.has(nameAt(path)) && path === `node_modules/${nameAt(path)}`);
if (names.size === 0) throw new Error("the names of the web app's packages are missing");
for (const name of names) {
  if (!web.components.some(({ purl }) => purl.startsWith(`pkg:npm/${name.replace("@", "%40")}@`))) {
    throw new Error(`the web app contains ${name}, which is not in web/package-lock.json`);
  }
}
const root = bom.dependencies.find(({ ref }) => ref === bom.metadata.component["bom-ref"]);
for (const { components, dependencies, direct } of [playground, web]) {
  append(bom.components, components, "bom-ref");
  append(bom.dependencies, dependencies, "ref");
  root.dependsOn = [...new Set([...root.dependsOn, ...direct])];
}

const references = bom.components.map((item) => item["bom-ref"]);
const known = new Set([...references, root.ref]);
if (known.size !== references.length + 1) throw new Error("two components have one reference");
for (const { ref, dependsOn } of bom.dependencies) {
  for (const needed of [ref, ...(dependsOn ?? [])]) {
    if (!known.has(needed)) throw new Error(`there is no component ${needed}`);
  }
}
console.log(JSON.stringify(bom, null, 2));
