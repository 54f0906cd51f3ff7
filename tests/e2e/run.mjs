// Runs the cases: node run.mjs [--only PART-OF-A-NAME] [--repeat N] [--interop]
// Files run two at a time, the cases of one file in their order. A file that mostly waits says `export const waits = true` and
// runs beside those two; one whose cases go on where the one before stopped says `export const story = true`. A case that
// failed for nothing but missing sound, while the machine itself stood still for at least half as long, is run once more at the end,
// alone, and the output says so.
// Ends with "e2e: N passed, N failed, N skipped".
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { delay, stopAll } from './lib/process.mjs';
import { watchStalls } from './lib/stalls.mjs';
import { wav } from './lib/tone.mjs';

const option = name => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};
const only = option('--only');
const repeat = Number(option('--repeat') ?? 1);
const dir = process.argv.includes('--interop') ? 'interop' : 'cases';
const CASE_TIMEOUT_MS = 60_000;
const TRIES = 2;

/** How each case came out: 'passed', 'failed' or 'skipped'. */
const outcomes = new Map();
/** Said again at the end, where whoever reads only the last screen finds them. */
const failed = [];
const failures = new URL('../../target/e2e/', import.meta.url);
await mkdir(failures, { recursive: true });
const stalledMs = watchStalls();

function fails(case_, reason) {
  outcomes.set(case_, 'failed');
  failed.push(reason);
}

/** Gives 'passed', 'failed', 'skipped' or 'again'. `needs` says what a case needs that this machine does not have, if so. */
async function runCase(suite, case_, world, attempt) {
  const { name, test, needs, timeoutMs = CASE_TIMEOUT_MS } = case_;
  const [started, stalledBefore] = [Date.now(), stalledMs()];
  const title = `${suite}: ${name}`;
  const missing = needs?.();
  if (missing) {
    console.log(`skipped ${title}: needs ${missing}`);
    return 'skipped';
  }
  let expired;
  try {
    const late = new Promise((_, reject) => { expired = setTimeout(() => reject(new Error(`not done after ${timeoutMs / 1000} s`)), timeoutMs); });
    const words = await Promise.race([test(world), late]);
    console.log(`ok      ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)${words ? `\n        ${[words].flat().join('\n        ')}` : ''}`);
    return 'passed';
  } catch (error) {
    const stalled = Math.round(stalledMs() - stalledBefore);
    const stood = `the machine stood still for ${stalled} ms meanwhile`;
    const ladder = await world.gateway.lastLadder();
    const file = title.replace(/\W+/g, '-');
    await writeFile(new URL(`${file}.log`, failures), `${error.stack}\n${stood}\n\n${ladder}\n\n${world.gateway.child.text}`);
    if (error.recording) await writeFile(new URL(`${file}.wav`, failures), wav(error.recording.samples, error.recording.rate));
    if (attempt < TRIES && error.missingMs <= 2 * stalled) {
      console.log(`again   ${title}: ${error.message ?? error}\n        ${stood}`);
      return 'again';
    }
    console.log(`FAILED  ${title}\n${error.stack ?? error}\n${stood}\n${ladder}`);
    fails(case_, `${title}: ${error.message ?? error}`);
    return 'failed';
  } finally {
    clearTimeout(expired);
  }
}

/** Gives the cases that are to be tried again. */
async function runSuite({ name, suite, cases }, attempt) {
  const again = [];
  const waiting = [...cases];
  // What a failed case leaves behind nobody knows: those after it begin anew.
  while (waiting.length) {
    let world;
    try {
      world = await suite.setUp();
    } catch (error) {
      console.log(`FAILED  ${name}: cannot be set up\n${error.stack}`);
      for (const case_ of waiting) fails(case_, `${name}: ${case_.name}: cannot be set up: ${error.message}`);
      break;
    }
    let outcome = 'passed';
    while (waiting.length && (outcome === 'passed' || outcome === 'skipped')) {
      const case_ = waiting.shift();
      outcome = await runCase(name, case_, world, attempt);
      if (outcome === 'again') again.push(case_);
      else outcomes.set(case_, outcome);
    }
    await suite.tearDown(world).catch(error => console.log(`${name}: ${error}`));
    if (suite.story) for (const case_ of waiting.splice(0)) fails(case_, `${name}: ${case_.name}: not reached`);
  }
  return again;
}

const suites = [];
for (const file of (await readdir(new URL(`./${dir}/`, import.meta.url))).sort()) {
  const suite = await import(`./${dir}/${file}`);
  const name = file.replace('.mjs', '');
  const cases = suite.cases.filter(case_ => !only || `${name}: ${case_.name}`.includes(only));
  if (cases.length) suites.push({ name, suite, cases: Array.from({ length: repeat }, () => cases.map(case_ => ({ ...case_ }))).flat() });
}
const waiting = suites.filter(({ suite }) => suite.waits);
const busy = suites.filter(({ suite }) => !suite.waits);
async function lane(queue, attempt) {
  const again = [];
  for (let next = queue.shift(); next; next = queue.shift()) {
    const cases = await runSuite(next, attempt);
    if (cases.length) again.push({ ...next, cases });
  }
  return again;
}
let again = (await Promise.all([lane(waiting, 1), lane(busy, 1), lane(busy, 1)])).flat();
for (let attempt = 2; again.length; attempt++) again = await lane(again, attempt);
await stopAll();
for (const reason of failed) console.log(`failed  ${reason}`);
const count = outcome => [...outcomes.values()].filter(one => one === outcome).length;
console.log(`e2e: ${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
process.exit(count('failed') ? 1 : 0);
