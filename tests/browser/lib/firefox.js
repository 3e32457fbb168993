// Headless Firefox over WebDriver BiDi, with its fake camera and a microphone that plays the tone.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer from "puppeteer-core";
import { keepConnections } from "./browser.js";
import { TONE_HZ } from "./tone.js";

/** How long it may take to start. */
const START_MS = 60000;

/** The microphone and camera are its own fakes; nothing leaves the machine. */
const PREFERENCES = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.navigator.audio.fake_frequency": TONE_HZ,
  // Only a page that may capture is given the addresses of all interfaces.
  "permissions.default.microphone": 1,
  "permissions.default.camera": 1,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  // The machine's one address, without mDNS, which nobody answers here.
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  "app.update.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
};

export class Firefox {
  #directory;
  #browser;

  /** A browser of its own, with a profile of its own. */
  static async open() {
    const firefox = new Firefox();
    firefox.#directory = await mkdtemp(join(tmpdir(), "smallrtc-firefox-"));
    firefox.#browser = await puppeteer.launch({
      browser: "firefox",
      executablePath: process.env.FIREFOX,
      headless: true,
      userDataDir: join(firefox.#directory, "profile"),
      extraPrefsFirefox: PREFERENCES,
      protocolTimeout: START_MS,
      timeout: START_MS,
      // Its home is its own too: it must not ask whose the machine's is.
      env: { ...process.env, HOME: firefox.#directory },
    });
    return firefox;
  }

  async page(url) {
    const page = await this.#browser.newPage();
    page.faults = [];
    page.on("pageerror", (error) => page.faults.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") page.faults.push(message.text());
    });
    await page.evaluateOnNewDocument(keepConnections);
    await page.goto(url);
    return page;
  }

  async close() {
    await this.#browser.close();
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
