// A few lines of SIP over UDP by hand, where a test must see or choose every byte.
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { ADDRESS, DOMAIN } from './gateway.mjs';
import { delay } from './process.mjs';

const md5 = text => createHash('md5').update(text).digest('hex');

export class Wire {
  static async open(gateway) {
    const wire = new Wire();
    wire.gateway = gateway;
    wire.socket = createSocket('udp4').bind(0, ADDRESS);
    await once(wire.socket, 'listening');
    wire.port = wire.socket.address().port;
    return wire;
  }

  /** Sends and waits for the next datagram. */
  async ask(text) {
    const reply = once(this.socket, 'message').then(([data]) => data.toString());
    this.socket.send(text, this.gateway.udpPort, ADDRESS);
    const late = delay(5_000).then(() => { throw new Error(`no reply to ${text.split('\r\n')[0]}`); });
    return Promise.race([reply, late]);
  }

  register(name, cseq, { authorization = '', branch = `z9hG4bK${name}${cseq}` } = {}) {
    return this.ask([
      `REGISTER sip:${DOMAIN} SIP/2.0`, `Via: SIP/2.0/UDP ${ADDRESS}:${this.port};rport;branch=${branch}`, 'Max-Forwards: 70',
      `From: <sip:${name}@${DOMAIN}>;tag=1`, `To: <sip:${name}@${DOMAIN}>`, `Call-ID: by-hand-${this.port}`, `CSeq: ${cseq} REGISTER`,
      `Contact: <sip:${name}@${ADDRESS}:${this.port}>`, 'Expires: 60', ...(authorization ? [`Authorization: ${authorization}`] : []),
      'Content-Length: 0', '', '',
    ].join('\r\n'));
  }

  /** The Authorization that answers the challenge in `response`. */
  answer(response, name, password, method = 'REGISTER', uri = `sip:${DOMAIN}`) {
    const [, realm] = response.match(/realm="([^"]*)"/);
    const [, nonce] = response.match(/nonce="([^"]*)"/);
    const proof = md5(`${md5(`${name}:${realm}:${password}`)}:${nonce}:00000001:c:auth:${md5(`${method}:${uri}`)}`);
    return `Digest username="${name}", realm="${realm}", nonce="${nonce}", uri="${uri}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c", response="${proof}"`;
  }

  close() { this.socket.close(); }
}
