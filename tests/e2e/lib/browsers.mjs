// Real browsers: Chromium by playwright-core, Firefox by puppeteer-core over WebDriver BiDi. Each plays its own tone.
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';
import { ADDRESS, DOMAIN, passwordOf } from './gateway.mjs';
import { until } from './process.mjs';
import { toneWav } from './tone.mjs';

export const CHROMIUM_HZ = 440;
export const FIREFOX_HZ = 700;

async function program(names) {
  for (const name of names) {
    for (const dir of (process.env.PATH ?? '').split(':')) {
      const path = join(dir, name);
      if (await access(path).then(() => true, () => false)) return path;
    }
  }
  throw new Error(`none of ${names.join(', ')} is installed`);
}

const bundles = {};
function bundle(library) {
  bundles[library] ??= build({
    entryPoints: [fileURLToPath(new URL(`../page/${library}.js`, import.meta.url))],
    bundle: true, write: false, format: 'iife', target: ['chrome100', 'firefox100'], logLevel: 'warning', define: { global: 'window' },
  }).then(({ outputFiles }) => outputFiles[0].text);
  return bundles[library];
}

export async function launchChromium() {
  const dir = await mkdtemp(join(tmpdir(), 'ringway-chromium-'));
  await writeFile(join(dir, 'tone.wav'), toneWav(CHROMIUM_HZ, 48_000, 10));
  const context = await chromium.launchPersistentContext(join(dir, 'profile'), {
    executablePath: await program(['chromium', 'chromium-browser', 'google-chrome']),
    headless: true,
    ignoreHTTPSErrors: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
      `--use-file-for-fake-audio-capture=${join(dir, 'tone.wav')}`, '--autoplay-policy=no-user-gesture-required', '--ignore-certificate-errors',
    ],
  });
  return {
    hz: CHROMIUM_HZ,
    newPage: () => context.newPage(),
    async close() {
      await context.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export async function launchFirefox(prefs = {}) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: await program(['firefox-esr', 'firefox']),
    headless: true,
    acceptInsecureCerts: true,
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.audio.fake_frequency': FIREFOX_HZ,
      'media.navigator.permission.disabled': true,
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      'media.getusermedia.insecure.enabled': true,
      ...prefs,
    },
  });
  return { hz: FIREFOX_HZ, newPage: () => browser.newPage(), close: () => browser.close() };
}

/** A browser's page that runs `library` ('jssip' or 'sipjs') and is signed in as `name`. */
export class BrowserPeer {
  /** `port` is where the page and its WebSocket are, when it is not the gateway's own. */
  static async start(browser, gateway, library, name, { password = passwordOf(name), registered = true, instance, port } = {}) {
    const peer = new BrowserPeer();
    Object.assign(peer, { browser, library, name, hz: browser.hz, page: await browser.newPage() });
    peer.errors = [];
    peer.page.on('pageerror', error => peer.errors.push(String(error)));
    peer.host = `${ADDRESS}:${port ?? gateway.webPort}`;
    peer.options = { url: `wss://${peer.host}/ws`, name, password, domain: DOMAIN, instance };
    await peer.load();
    if (registered) await peer.sees(/^registered/, 15_000);
    return peer;
  }

  /** Loads the page, anew if it was there, and signs in. */
  async load() {
    await this.page.goto(`https://${this.host}/`);
    await this.page.evaluate(`${await bundle(this.library)};0`);
    await this.page.evaluate(options => void window.peer.start(options), this.options);
  }

  /** Waits for an event; gives it. */
  async sees(pattern, timeoutMs = 10_000) {
    let events = [];
    try {
      return await until(`${this.name}'s browser reports ${pattern}`, async () => {
        events = await this.page.evaluate(() => window.peer.events());
        return events.find(event => pattern.test(event));
      }, timeoutMs);
    } catch (error) {
      throw new Error(`${error.message}; it reported: ${events.join(', ')} ${this.errors.join(', ')}`);
    }
  }

  rings() { return this.sees(/^incoming/); }
  talks() { return this.sees(/^confirmed/); }
  over() { return this.sees(/^(ended|failed)/); }

  forget() { return this.page.evaluate(() => window.peer.forget()); }
  dial(number, headers = []) { return this.do('call', { number: String(number), headers }); }
  answer() { return this.do('answer'); }
  relayMedia(ports) { return this.do('relayMedia', ports); }
  sends() { return this.page.evaluate(() => window.peer.sends()); }
  hideAddresses() { return this.do('hideAddresses'); }
  transport() { return this.page.evaluate(() => window.peer.transport()); }
  hangUp() { return this.do('hangUp'); }
  async hold(options = {}) {
    await this.do('hold', options);
    await this.sees(/^held/);
  }
  async resume(options = {}) {
    await this.do('resume', options);
    await this.sees(/^resumed/);
  }
  transfer(number) { return this.do('transfer', String(number)); }
  press(text, way = 'INFO') { return this.do('keys', { text, way }); }
  /** The keys that it was told of since it was last told to forget. */
  async keys() {
    const events = await this.page.evaluate(() => window.peer.events());
    return events.filter(event => event.startsWith('key ')).map(event => event.slice(4)).join('');
  }
  /** What is heard from now on, as heard() gives it. */
  listen() { return this.do('listen'); }
  heard() { return this.recording(); }
  // One argument alone: playwright's evaluate takes no more.
  do(what, value) {
    return this.page.evaluate(({ what, value }) => { window.peer[what](value); }, { what, value });
  }

  async recording() {
    const { rate, base64 } = await this.page.evaluate(() => window.peer.recording());
    const bytes = Buffer.from(base64, 'base64');
    return { rate, samples: Float32Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readInt16LE(i * 2) / 32768) };
  }

  async stop() {
    await this.do('stop').catch(() => {});
    await this.page.close();
  }
}
