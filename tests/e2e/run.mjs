// Runs the cases, one after the other: node run.mjs [--only PART-OF-A-NAME] [--repeat N] [--interop]
// Ends with "e2e: N passed, N failed, N skipped".
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

async function runCase(suite, { name, test, timeoutMs = CASE_TIMEOUT_MS }, world) {
  const started = Date.now();
  const title = `${suite}: ${name}`;
  if (only && !title.includes(only)) return;
  try {
    const expired = delay(timeoutMs).then(() => { throw new Error(`not done after ${timeoutMs / 1000} s`); });
    const words = await Promise.race([test(world), expired]);
    counts.passed++;
    console.log(`ok      ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)${words ? `\n        ${[words].flat().join('\n        ')}` : ''}`);
  } catch (error) {
    counts.failed++;
    const ladder = await world?.gateway?.lastLadder?.() ?? '';
    console.log(`FAILED  ${title}\n${error.stack ?? error}\n${ladder}`);
    await writeFile(new URL(`${title.replace(/\W+/g, '-')}.log`, failures), `${error.stack}\n\n${ladder}\n\n${world?.gateway?.child?.text ?? ''}`);
    await world?.recover?.();
  }
}

for (const file of (await readdir(new URL(`./${dir}/`, import.meta.url))).sort()) {
  const suite = await import(`./${dir}/${file}`);
  const name = file.replace('.mjs', '');
  if (only && !suite.cases.some(({ name: case_ }) => `${name}: ${case_}`.includes(only))) continue;
  let world;
  try {
    world = await suite.setUp?.();
  } catch (error) {
    console.log(`FAILED  ${name}: cannot be set up\n${error.stack}`);
    counts.failed += suite.cases.length;
    await stopAll();
    continue;
  }
  for (let round = 0; round < repeat; round++) for (const case_ of suite.cases) await runCase(name, case_, world);
  await suite.tearDown?.(world).catch(error => console.log(`${name}: ${error}`));
}
await stopAll();
console.log(`e2e: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed ? 1 : 0);
