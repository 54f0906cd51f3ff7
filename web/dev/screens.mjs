// Takes a picture of each state of the page, with a fake telephone: npm run screens, then look into dev/screens/.
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
  incoming: async page => page.evaluate(() => fake('incoming', { who: 'Bob Example', number: '202' })),
  ringing: async page => {
    await page.fill('#number', '200');
    await page.press('#number', 'Enter');
    await page.evaluate(() => fake('ringing', { early: true }));
  },
  talking: async page => talk(page),
  keypad: async page => {
    await talk(page);
    await page.click('#keypad');
    await page.click('#mute');
    for (const key of '12#') await page.keyboard.press(key);
  },
  failed: async page => {
    await history(page);
    await page.fill('#number', '999');
    await page.press('#number', 'Enter');
    await page.evaluate(() => fake('over', { reason: 'Nobody has this number.' }));
  },
  lost: async page => {
    await history(page);
    await talk(page);
    await page.evaluate(() => fake('registration', { state: 'lost' }));
  },
};

async function talk(page) {
  await page.fill('#number', '200');
  await page.press('#number', 'Enter');
  await page.evaluate(() => {
    fake('answered', {});
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
  await page.evaluate(() => {
    fake('incoming', { who: 'Bob Example', number: '202' });
    fake('answered', {});
    fake('over', { reason: null });
    fake('incoming', { who: 'Reception', number: '100' });
    fake('over', { reason: null, missed: true });
  });
}

await mkdir('dev/screens', { recursive: true });
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required'],
});
for (const [size, viewport] of Object.entries({ wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } })) {
  for (const colorScheme of ['light', 'dark']) {
    for (const [state, steps] of Object.entries(STATES)) {
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
