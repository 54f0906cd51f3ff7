// Runs the cases: node run.mjs [--only PART-OF-A-NAME] [--repeat N] [--interop]
// Files run two at a time, the cases of one file in their order. A file that mostly waits says `export const waits = true` and
// runs beside those two. Ends with "e2e: N passed, N failed, N skipped".
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { delay, stopAll } from './lib/process.mjs';

const option = name => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};
const only = option('--only');
const repeat = Number(option('--repeat') ?? 1);
const dir = process.argv.includes('--interop') ? 'interop' : 'cases';
const CASE_TIMEOUT_MS = 60_000;

const counts = { passed: 0, failed: 0, skipped: 0 };
const failures = new URL('../../target/e2e/', import.meta.url);
await mkdir(failures, { recursive: true });

/** `needs` says what a case needs that this machine does not have, if so. */
async function runCase(suite, { name, test, needs, timeoutMs = CASE_TIMEOUT_MS }, world) {
  const started = Date.now();
  const title = `${suite}: ${name}`;
  if (only && !title.includes(only)) return;
  const missing = needs?.();
  if (missing) {
    counts.skipped++;
    console.log(`skipped ${title}: needs ${missing}`);
    return;
  }
  let expired;
  try {
    const late = new Promise((_, reject) => { expired = setTimeout(() => reject(new Error(`not done after ${timeoutMs / 1000} s`)), timeoutMs); });
    const words = await Promise.race([test(world), late]);
    counts.passed++;
    console.log(`ok      ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)${words ? `\n        ${[words].flat().join('\n        ')}` : ''}`);
  } catch (error) {
    counts.failed++;
    const ladder = await world?.gateway?.lastLadder?.() ?? '';
    console.log(`FAILED  ${title}\n${error.stack ?? error}\n${ladder}`);
    await writeFile(new URL(`${title.replace(/\W+/g, '-')}.log`, failures), `${error.stack}\n\n${ladder}\n\n${world?.gateway?.child?.text ?? ''}`);
    await world?.recover?.();
    // What was under way may still be ending.
    await delay(1_000);
  } finally {
    clearTimeout(expired);
  }
}

async function runSuite({ name, suite }) {
  let world;
  try {
    world = await suite.setUp?.();
  } catch (error) {
    console.log(`FAILED  ${name}: cannot be set up\n${error.stack}`);
    counts.failed += suite.cases.length;
    return;
  }
  for (let round = 0; round < repeat; round++) for (const case_ of suite.cases) await runCase(name, case_, world);
  await suite.tearDown?.(world).catch(error => console.log(`${name}: ${error}`));
}

const suites = [];
for (const file of (await readdir(new URL(`./${dir}/`, import.meta.url))).sort()) {
  const suite = await import(`./${dir}/${file}`);
  const name = file.replace('.mjs', '');
  if (!only || suite.cases.some(({ name: case_ }) => `${name}: ${case_}`.includes(only))) suites.push({ name, suite });
}
const waiting = suites.filter(({ suite }) => suite.waits);
const busy = suites.filter(({ suite }) => !suite.waits);
async function lane(queue) {
  for (let next = queue.shift(); next; next = queue.shift()) await runSuite(next);
}
await Promise.all([lane(waiting), lane(busy), lane(busy)]);
await stopAll();
console.log(`e2e: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed ? 1 : 0);
