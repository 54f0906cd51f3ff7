// A TCP relay between a browser and the gateway, that can fall silent as a network does: neither side is told.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { ADDRESS } from './gateway.mjs';

export class Relay {
  #pairs = new Set();

  static async to(port) {
    const relay = new Relay();
    relay.server = createServer({ pauseOnConnect: true }, near => {
      const far = connect(port, ADDRESS);
      const pair = { near, far };
      relay.#pairs.add(pair);
      for (const [from, to] of [[near, far], [far, near]]) {
        from.on('data', data => !pair.silent && to.write(data));
        from.on('error', () => {});
        from.on('close', () => {
          relay.#pairs.delete(pair);
          if (!pair.silent) to.destroy();
        });
      }
      near.resume();
    });
    relay.server.listen(0, ADDRESS);
    await once(relay.server, 'listening');
    relay.port = relay.server.address().port;
    return relay;
  }

  /** Connections that stand carry nothing any more; new ones do. */
  fallSilent() {
    for (const pair of this.#pairs) pair.silent = true;
  }

  /** The gateway learns that those that fell silent are gone; the browser does not. */
  resetFarSide() {
    for (const pair of this.#pairs) if (pair.silent) pair.far.resetAndDestroy();
  }

  stop() {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
    this.server.close();
  }
}
