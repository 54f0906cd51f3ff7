// Takes a picture of each state of the page, with a fake telephone: npm run screens [-- STATE...], then look into dev/screens/.
// Needs Chromium at /usr/bin/chromium. Nothing of this is in the page itself.
import { createServer } from 'node:http';
import { mkdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const script = await build({
  entryPoints: ['src/main.js', 'src/style.css'], outdir: 'unused', bundle: true, write: false, format: 'esm',
  alias: { '#phone': './dev/fake-phone.js' },
});
const built = Object.fromEntries(script.outputFiles.map(file => [file.path.split('/').pop(), file.text]));
const demo = [{ number: '600', what: 'echo' }, { number: '601', what: 'tone' }, { number: '200', what: 'hall phone' }];
const config = { domain: 'phones.example.org', websocket_path: '/ws', version: '0.1.0', demo_numbers: demo };
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

const server = createServer(async (request, response) => {
  const path = request.url === '/' ? 'index.html' : request.url.slice(1);
  try {
    const body = path === 'config.json' ? JSON.stringify(config) : built[path] ?? (await readFile(`public/${path}`));
    response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/json' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}/`;

/** Each state by the steps that lead to it from a signed-in page. */
const STATES = {
  'sign-in': null,
  refused: async page => page.evaluate(() => fake('registration', { state: 'refused', reason: 'Name or password is wrong.' })),
  dial: async () => {},
  dialled: async page => page.fill('#number', '0301234567'),
  incoming: async page => calls(page, [{ who: 'Bob Example', number: '202', state: 'incoming' }]),
  ringing: async page => calls(page, [{ who: '200', state: 'ringing' }]),
  talking: async page => talk(page),
  hold: async page => talk(page, { held: true }),
  keypad: async page => {
    await talk(page, { muted: true });
    await page.click('#keypad');
    for (const key of '12#') await page.keyboard.press(key);
    await page.evaluate(() => fake('key', { call: { id: '1', who: 'Bob Example' }, key: '5' }));
  },
  transfer: async page => {
    await talk(page);
    await page.click('#transfer');
    await page.fill('#transfer-to', 'dave');
  },
  transferring: async page => talk(page, { transfer: { to: 'dave', ringing: true } }),
  'transfer-failed': async page => {
    await talk(page);
    await page.evaluate(() => fake('told', { words: 'dave is busy – you are talking to Bob Example again.' }));
  },
  'ask-first': async page => calls(page, [HELD, { who: 'dave', id: '2', since: 9_000, consultFor: '1' }], '2'),
  second: async page => {
    await talk(page);
    await calls(page, [BOB, { who: 'Carol of the accounts department, third floor', id: '2', state: 'incoming' }]);
  },
  three: async page => {
    await talk(page);
    await calls(page, [HELD, { ...BOB, id: '2', who: '0301234567', since: 12_000 }, { who: 'Carol', id: '3', state: 'incoming' }], '2');
  },
  'three-held': async page => calls(page, [HELD, { ...HELD, id: '2', who: 'Carol' }, { ...BOB, id: '3', who: 'Dave' }], '3'),
  failed: async page => {
    await history(page);
    await calls(page, [{ who: '999', state: 'calling', incoming: false }]);
    await over(page, { who: '999', incoming: false }, { reason: 'Nobody has this number.' });
  },
  lost: async page => {
    await history(page);
    await talk(page);
    await page.evaluate(() => fake('registration', { state: 'lost' }));
  },
  returning: async page => calls(page, [{ ...BOB, state: 'returning' }]),
  back: async page => {
    await talk(page);
    await page.evaluate(() => fake('told', { words: 'Back in your call with Bob Example.' }));
  },
  'no-messages': async page => page.click('#tab-messages'),
  conversations: async page => {
    await written(page);
    await page.click('#tab-messages');
  },
  unread: async page => {
    await history(page);
    await written(page);
  },
  conversation: async page => {
    await written(page);
    await page.click('#tab-messages');
    await page.click('#conversations button:has-text("Bob")');
    await send(page, 'I am on my way. Do you need anything from the shop?');
    await send(page, 'Milk 🥛\nand a stamp', { state: 'kept' });
    await send(page, 'Hello?', { state: 'failed', reason: 'the connection to the gateway was lost' });
    await page.locator('[data-testid="message"]').last().locator('button').waitFor();
  },
  'conversation-in-call': async page => {
    await talk(page);
    await page.click('#write');
    await send(page, 'The number is 0301234567');
  },
};

const BOB = { id: '1', who: 'Bob Example', number: '202', since: 83_000 };
const HELD = { ...BOB, held: true };

/** `since` says how long ago it was answered. */
async function calls(page, list, current = list[0].id ?? '1') {
  await page.evaluate(({ list, current }) => {
    const usual = { id: '1', number: '1', incoming: true, started: Date.now(), state: 'talking', held: false, muted: false, transfer: null, consultFor: null };
    const calls = list.map(call => ({ ...usual, ...call, since: call.since ? Date.now() - call.since : null }));
    fake('calls', { calls, current });
  }, { list, current });
}

async function over(page, call, detail) {
  await page.evaluate(({ call, detail }) => {
    fake('over', { call: { id: '1', number: call.who, incoming: true, started: Date.now(), ...call }, ...detail });
    fake('calls', { calls: [], current: null });
  }, { call, detail });
}

async function talk(page, changes = {}) {
  await calls(page, [{ ...BOB, ...changes }]);
  await page.evaluate(() => {
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    const [quiet, out] = [audio.createGain(), audio.createMediaStreamDestination()];
    quiet.gain.value = 0.2;
    tone.connect(quiet).connect(out);
    tone.start();
    fake('streams', { local: out.stream, remote: out.stream });
  });
}

async function history(page) {
  await over(page, { who: 'Bob Example', since: Date.now() - 83_000 }, { reason: null });
  await over(page, { who: 'Reception' }, { reason: null, missed: true });
}

async function written(page) {
  await page.evaluate(() => {
    const at = new Date().setHours(9, 30);
    fake('message', { who: 'Reception', number: '100', text: 'A parcel for you has arrived.', sent: at - 90_000_000 });
    fake('message', { who: 'Carol of the accounts department', number: '103', text: 'Thank you! 👍', sent: at - 600_000 });
    fake('message', { who: 'Bob Example', number: '202', text: 'Are you coming?', sent: at });
    fake('message', { who: 'Bob Example', number: '202', text: 'The room is 3.14, on the third floor, behind the kitchen; somebody will open the door for you.', sent: at + 60_000 });
    fake('presence', { number: '202', open: true, words: 'On the phone' });
    fake('presence', { number: '103', open: false, words: 'Not there' });
  });
}

async function send(page, text, made = { state: 'delivered' }) {
  await page.evaluate(made => window.made.push(made), made);
  await page.fill('#chat-text', text);
  await page.press('#chat-text', 'Enter');
}

await mkdir('dev/screens', { recursive: true });
const only = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required'],
});
for (const [size, viewport] of Object.entries({ wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } })) {
  for (const colorScheme of ['light', 'dark']) {
    for (const [state, steps] of Object.entries(STATES)) {
      if (only.length && !only.includes(state)) continue;
      const page = await browser.newPage({ viewport, colorScheme });
      page.on('pageerror', error => console.error(state, error));
      await page.goto(url);
      await page.waitForFunction(() => document.getElementById('domain').textContent);
      if (steps) {
        await page.fill('#name', 'alice');
        await page.fill('#password', 'x');
        await page.click('#sign-in');
        await page.evaluate(() => fake('registration', { state: 'registered' }));
        await steps(page);
      }
      await page.waitForTimeout(350);
      await page.screenshot({ path: `dev/screens/${state}-${size}-${colorScheme}.png` });
      await page.close();
    }
  }
}
await browser.close();
server.close();
