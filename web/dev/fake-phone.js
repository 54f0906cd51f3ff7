// Stands in for src/phone.js while screenshots are taken: does what `window.fake(event, detail)` says.
export class Phone {
  constructor(listener) {
    window.fake = listener;
    window.made = [];
  }
  async write() { return window.made.shift() ?? { state: 'delivered' }; }
  leave() { return []; }
}
for (const name of ['signIn', 'signOut', 'call', 'answer', 'hangUp', 'hold', 'resume', 'mute', 'press', 'transfer', 'ask', 'connect', 'watch']) {
  Phone.prototype[name] = () => {};
}
