// Relays between a browser and the gateway: one of TCP, that can fall silent as a network does (neither side is told), and one
// of media, that can lose packets.
import { createSocket } from 'node:dgram';
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

const isRtp = packet => packet[0] >= 128 && packet[0] < 192 && !((packet[1] & 127) >= 64 && (packet[1] & 127) < 96);

/** For one browser with one call. */
export class LossyRelay {
  /** Of every so many RTP packets one is lost on the way to the gateway, and to the browser; 0 for none. */
  losesOneOf = { gateway: 0, browser: 0 };
  #sockets = [];
  #seen = { gateway: 0, browser: 0 };
  lost = 0;

  /** `ports`: {the gateway's port: the relay's in its place}. */
  static async to(gatewayPorts) {
    const relay = new LossyRelay();
    relay.ports = Object.fromEntries(await Promise.all(gatewayPorts.map(async port => [port, await relay.#between(port)])));
    return relay;
  }

  async #between(port) {
    const [near, far] = [createSocket('udp4'), createSocket('udp4')];
    let browser;
    near.on('message', (packet, from) => {
      browser = from;
      if (!this.#loses(packet, 'gateway')) far.send(packet, port, ADDRESS);
    });
    far.on('message', packet => browser && !this.#loses(packet, 'browser') && near.send(packet, browser.port, browser.address));
    for (const socket of [near, far]) {
      this.#sockets.push(socket);
      socket.bind(0, ADDRESS);
      await once(socket, 'listening');
    }
    return near.address().port;
  }

  #loses(packet, to) {
    const loses = this.losesOneOf[to] > 0 && isRtp(packet) && ++this.#seen[to] % this.losesOneOf[to] === 0;
    this.lost += loses;
    return loses;
  }

  stop() {
    for (const socket of this.#sockets) socket.close();
  }
}
