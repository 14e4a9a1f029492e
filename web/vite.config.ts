import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Connect, type Plugin } from "vite";

const server = process.env.TICKETWIRE_URL ?? "http://127.0.0.1:8080";
// The cookie counts only for requests of the server's own pages, so they must look like these.
const upstream = { target: server, changeOrigin: true, ws: true, headers: { origin: new URL(server).origin } };
const proxy = Object.fromEntries(["/graphql", "/attachments", "/reset-password"].map((path) => [path, upstream]));

// The policy that the server sends with its pages. `npm run preview` tries the build under it.
const policy = [
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; connect-src 'self'",
  "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  "require-trusted-types-for 'script'; trusted-types svelte-trusted-html",
].join("; ");

/** Serves the desk's page at its addresses, as the server does. */
const desk: Plugin = {
  name: "desk",
  configureServer: ({ middlewares }) => void middlewares.use(toDesk),
  configurePreviewServer: ({ middlewares }) => void middlewares.use(toDesk),
};
function toDesk(request: Connect.IncomingMessage, _: unknown, next: () => void): void {
  if (/^\/desk(\/|\?|$)/.test(request.url ?? "")) request.url = "/desk.html";
  next();
}

export default defineConfig({
  plugins: [svelte(), desk],
  server: { proxy },
  preview: { proxy, headers: { "content-security-policy": policy } },
  build: {
    target: "es2022",
    manifest: ".vite/manifest.json",
    // An inlined asset is a `data:` URL, which the policy of the server's pages forbids for scripts and styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: { portal: "index.html", desk: "desk.html" } },
  },
});
