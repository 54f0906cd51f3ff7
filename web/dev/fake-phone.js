// Stands in for src/phone.js while screenshots are taken: does what `window.fake(event, detail)` says.
export class Phone {
  constructor(listener) {
    window.fake = listener;
  }
  signIn() {}
  signOut() {}
  async call() {}
  async answer() {}
  hangUp() {}
  mute() {}
  digit() {}
}
