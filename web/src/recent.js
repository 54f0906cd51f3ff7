// The calls that were, the newest first; gone when the page is.
import { at, clock, make, timeOfDay } from './dom.js';

const MOST = 20;
const WORDS = { out: ['↗', 'You called'], in: ['↙', 'Called you'], missed: ['↙', 'Missed call from'] };

export class Recent {
  #entries = [];
  #dial;

  constructor(dial) {
    this.#dial = dial;
  }

  get empty() { return this.#entries.length === 0; }

  add({ call, reason, missed, elsewhere }) {
    const { who, number, incoming, started, since } = call;
    const kind = incoming ? (missed ? 'missed' : 'in') : 'out';
    const unanswered = { missed: 'Missed', in: 'Declined', out: 'Cancelled' }[kind];
    const short = reason ? reason.split(/[.;]/)[0] : elsewhere ? 'Answered elsewhere' : unanswered;
    this.#entries.unshift({ who, number, kind, result: since ? clock(Date.now() - since) : short, when: timeOfDay(started) });
    this.#entries.length = Math.min(this.#entries.length, MOST);
    this.#draw();
  }

  clear() {
    this.#entries.length = 0;
    this.#draw();
  }

  #draw() {
    at('recent-list').replaceChildren(...this.#entries.map(({ who, number, kind, result, when }) => {
      const [arrow, words] = WORDS[kind];
      const span = (className, textContent) => make('span', { className, textContent });
      const button = make('button', { className: `entry ${kind}`, aria: { label: `${words} ${who}, ${when}, ${result}. Call again.` } },
        span('way', arrow), span('peer', who), span('result', result), span('when', when));
      button.addEventListener('click', () => this.#dial(number));
      return make('li', {}, button);
    }));
  }
}
