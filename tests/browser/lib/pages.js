// Clients of the protocol as pages of their own, bundled and served on localhost: there a browser
// gives the microphone without https, and the program is on another origin, as it is for whoever
// has a page already.

import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const CLIENT = fileURLToPath(new URL("client/", import.meta.url));
const HTML = (name) => `<!doctype html><meta charset="utf-8"><title>${name}</title>
<audio id="remote-audio" autoplay></audio><video id="remote-video" autoplay muted></video>
<script src="${name}.js"></script>`;

/**
 * The scripts of the pages, by name. Of the Pipecat client all is what npm has, except the devices:
 * Daily's code for them comes from its own servers when a page is opened.
 */
async function bundle(names) {
  const { outputFiles } = await build({
    entryPoints: names.map((name) => `${CLIENT}${name}.js`),
    outdir: "/",
    bundle: true,
    write: false,
    format: "iife",
    target: "es2022",
    alias: { "@daily-co/daily-js": `${CLIENT}daily.js` },
    logLevel: "error",
  });
  return new Map(outputFiles.map(({ path, text }) => [path, text]));
}

export class Pages {
  #server;

  /** Bundles the pages that are named, and serves them until it is closed. */
  static async open(...names) {
    const pages = new Pages();
    const scripts = await bundle(names);
    pages.#server = createServer((request, response) => {
      const script = scripts.get(request.url);
      const name = request.url.slice(1);
      const known = script !== undefined || names.includes(name);
      // No content for the icon that every browser asks for.
      response.statusCode = known ? 200 : 204;
      response.setHeader("content-type", script === undefined ? "text/html" : "text/javascript");
      response.end(known ? (script ?? HTML(name)) : "");
    });
    await new Promise((resolve) => pages.#server.listen(0, "127.0.0.1", resolve));
    return pages;
  }

  /** Where a page is. */
  url(name) {
    return `http://127.0.0.1:${this.#server.address().port}/${name}`;
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }
}
