// How long the machine itself stood still: a thread that does nothing but sleep says how much later it woke than it had asked for.
// Where other programs or the machine's host take its cores away, sound has gaps that no gateway made.
import { Worker, isMainThread, workerData } from 'node:worker_threads';

const SLEEP_MS = 5;
/** What a jitter buffer makes up for. */
const UNHEARD_MS = 20;

if (!isMainThread) {
  const stalled = new Float64Array(workerData);
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    const asleep = performance.now();
    Atomics.wait(never, 0, 0, SLEEP_MS);
    const late = performance.now() - asleep - SLEEP_MS;
    if (late > UNHEARD_MS) stalled[0] += late;
  }
}

/** Begins to watch; gives a function that says for how many milliseconds the machine stood still so far. */
export function watchStalls() {
  const shared = new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT);
  new Worker(new URL(import.meta.url), { workerData: shared }).unref();
  const stalled = new Float64Array(shared);
  return () => stalled[0];
}
