// Who is there: SUBSCRIBE to the presence of some others (RFC 3856), told in words.

const EXPIRES_SECS = 600;
const TRY_AGAIN_MS = 30_000;
const ACTIVITIES = { 'on-the-phone': 'On the phone', busy: 'Busy', away: 'Away', meeting: 'In a meeting', 'do-not-disturb': 'Do not disturb' };

export class Watch {
  #ua;
  #domain;
  #tell;
  #wanted = new Set();
  #running = new Map();

  constructor(ua, domain, tell) {
    this.#ua = ua;
    this.#domain = domain;
    this.#tell = tell;
  }

  set(numbers) {
    this.#wanted = new Set(numbers);
    for (const [number, subscriber] of this.#running) if (!this.#wanted.has(number)) subscriber.terminate();
    this.refresh();
  }

  /** Subscribes to all that are wanted and not running; what a lost connection has ended, begins again here. */
  refresh() {
    if (!this.#ua.isRegistered()) return;
    for (const number of this.#wanted) if (!this.#running.has(number)) this.#subscribe(number);
  }

  #subscribe(number) {
    const options = { expires: EXPIRES_SECS, contentType: 'application/pidf+xml' };
    const target = `sip:${encodeURIComponent(number)}@${this.#domain}`;
    const subscriber = this.#ua.subscribe(target, 'presence', 'application/pidf+xml', options);
    this.#running.set(number, subscriber);
    subscriber.on('notify', (_final, _request, body) => body && this.#tell({ number, ...read(body) }));
    subscriber.on('terminated', code => {
      this.#running.delete(number);
      this.#tell({ number, open: null, words: '' });
      // Who may not be watched, or does not exist, is not asked for again and again.
      if (code !== subscriber.C.SUBSCRIBE_NON_OK_RESPONSE) setTimeout(() => this.refresh(), TRY_AGAIN_MS);
    });
    subscriber.subscribe();
  }
}

/** A presence document (RFC 3863, 4480): open, closed, or unknown; and words. */
function read(body) {
  const xml = new DOMParser().parseFromString(body, 'application/xml');
  const first = name => xml.getElementsByTagNameNS('*', name)[0];
  const basic = first('basic')?.textContent.trim();
  const open = basic ? basic === 'open' : null;
  const activity = first('activities')?.firstElementChild?.localName;
  const note = first('note')?.textContent.trim();
  const plain = open === null ? '' : open ? 'There' : 'Not there';
  return { open, words: note || ACTIVITIES[activity] || plain };
}
