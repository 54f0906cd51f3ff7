// The softphone page as a person uses it: what it says is waited for, never how long it may take.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { passwordOf } from './gateway.mjs';
import { until } from './process.mjs';

export const SCREENS = fileURLToPath(new URL('../../../target/screens/', import.meta.url));
const SIZES = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } };

export class Softphone {
  errors = [];

  /** The page, not yet signed in. */
  static async open(browser, gateway) {
    const phone = new Softphone();
    phone.page = await browser.newPage();
    phone.gateway = gateway;
    phone.page.on('pageerror', error => phone.errors.push(String(error)));
    phone.page.on('console', message => message.type() === 'error' && phone.errors.push(message.text()));
    await phone.page.addInitScript(() => {
      // A test's tone is to arrive as it is, which is what noise suppression is against.
      if (!navigator.mediaDevices) return;
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = () => open({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
      // So that a test can cut it.
      const Native = window.WebSocket;
      window.WebSocket = class extends Native {
        constructor(...args) {
          super(...args);
          window.lastSocket = this;
        }
      };
    });
    await phone.page.goto(gateway.url);
    return phone;
  }

  static async start(browser, gateway, name) {
    const phone = await Softphone.open(browser, gateway);
    await phone.signIn(name);
    await phone.says('registration', new RegExp(`Registered as ${name}`));
    return phone;
  }

  at = id => this.page.getByTestId(id);

  async signIn(name, password = passwordOf(name)) {
    await this.at('name').fill(name);
    await this.at('password').fill(password);
    await this.at('sign-in').click();
  }

  async text(id) { return (await this.at(id).first().textContent()).trim(); }

  /** Waits until the element says so. */
  async says(id, pattern, timeoutMs) {
    let last;
    try {
      await until(`${id} says ${pattern}`, async () => pattern.test(last = await this.text(id)), timeoutMs);
    } catch (error) {
      throw new Error(`${error.message}; it says “${last}”`);
    }
  }

  async level(id) { return Number(await this.at(id).getAttribute('aria-valuenow')); }

  async hearsSpeech() {
    await until('the remote meter shows speech', async () => (await this.level('meter-remote')) > 40);
  }

  async dial(number) {
    await this.at('number').fill(String(number));
    await this.at('call').click();
  }

  talks() { return this.says('timer', /^\d:\d\d$/); }

  async hangUp() {
    await this.at('hang-up').click();
  }

  async idle() { await this.at('view-dial').waitFor(); }

  /** Pictures of the page as it is, left in target/screens/: wide and light, narrow and dark. */
  async picture(name) {
    const { page } = this;
    // One that lies behind another may paint nothing at all.
    await page.bringToFront();
    for (const [size, colorScheme] of [['wide', 'light'], ['narrow', 'dark']]) {
      await page.setViewportSize(SIZES[size]);
      await page.emulateMedia({ colorScheme });
      // Colours fade from one scheme to the other.
      await page.waitForTimeout(200);
      await page.screenshot({ path: `${SCREENS}${name}-${size}-${colorScheme}.png` });
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${name} is ${wider} px wider than a ${size} screen`);
    }
    await page.setViewportSize(SIZES.wide);
    await page.emulateMedia({ colorScheme: 'light' });
  }
}
