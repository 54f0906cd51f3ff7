// Makes pcap-fixtures/: SIP as the gateway traced it, RTP on the trunk side as tcpdump saw it, and beside them who is who.
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Baresip } from './lib/baresip.mjs';
import { BrowserPeer, launchChromium } from './lib/browsers.mjs';
import { ADDRESS, DOMAIN, Gateway, passwordOf } from './lib/gateway.mjs';
import { Child, delay, stopAll } from './lib/process.mjs';
import { callee, caller } from './lib/sipp.mjs';

const OUT = fileURLToPath(new URL('../../pcap-fixtures/', import.meta.url));
const ACCOUNTS = { alice: 101, hall: 200, desk: 201 };
/** About two seconds of both ways. */
const RTP_PACKETS = 200;

async function browserCalls(gateway, library) {
  const chromium = await launchChromium();
  const alice = await BrowserPeer.start(chromium, gateway, library, 'alice');
  const hall = await Baresip.start(gateway, 'hall');
  await alice.dial(200);
  await hall.sees('CALL_INCOMING');
  await alice.sees(/^ringing/);
  hall.answer();
  await alice.sees(/^confirmed/);
  await delay(2_500);
  await alice.hangUp();
  await hall.sees('CALL_CLOSED');
  await chromium.close();
  await hall.stop();
}

async function phoneCalls(gateway) {
  const hall = await Baresip.start(gateway, 'hall');
  const desk = await Baresip.start(gateway, 'desk', { hz: 600, codec: 'PCMA' });
  hall.dial(201);
  await desk.sees('CALL_INCOMING');
  await hall.sees('CALL_RINGING');
  desk.answer();
  await hall.sees('CALL_ESTABLISHED');
  await delay(2_500);
  desk.hangUp();
  await hall.sees('CALL_CLOSED');
  await hall.stop();
  await desk.stop();
}

async function busy(gateway) {
  const phone = await callee(gateway, 'hall', 'callee-486');
  const sipp = await caller(gateway, 'desk', 'caller-refused', { number: 200, status: 486 });
  await sipp.done();
  await phone.done();
}

// What must come out: the statuses that each account's device gets, what it is asked, what must stand in the SDP that it is sent.
const BROWSER_CALL = {
  alice: { statuses: [401, 200, 401, 100, 180, 200, 200], requests: [], sdp: ['UDP/TLS/RTP/SAVPF 111', 'opus/48000/2', 'a=rtcp-mux', 'a=ice-lite', 'a=fingerprint:sha-256'] },
  hall: { statuses: [401, 200, 401, 200], requests: ['INVITE', 'ACK', 'BYE'], sdp: ['RTP/AVP 0 8 101', 'telephone-event/8000'] },
};
const FIXTURES = [
  { path: 'jssip/call', about: 'JsSIP registers, calls a phone that answers, and hangs up', run: g => browserCalls(g, 'jssip'), rtp: true, expect: BROWSER_CALL },
  { path: 'sipjs/call', about: 'SIP.js registers, calls a phone that answers, and hangs up', run: g => browserCalls(g, 'sipjs'), rtp: true, expect: BROWSER_CALL },
  { path: 'baresip/call', about: 'baresip with µ-law calls baresip with A-law, which hangs up', run: phoneCalls, rtp: true, expect: {
    hall: { statuses: [401, 200, 401, 100, 180, 200, 401, 200], requests: ['BYE'], sdp: ['RTP/AVP 0 101'] },
    desk: { statuses: [401, 200, 200, 401, 200], requests: ['INVITE', 'ACK'], sdp: ['RTP/AVP 0 8 101'] },
  } },
  { path: 'sipp/busy', about: 'sipp calls sipp, which is busy', run: busy, expect: {
    desk: { statuses: [401, 100, 180, 486], requests: [], sdp: [] },
    hall: { statuses: [401, 200], requests: ['INVITE', 'ACK'], sdp: ['RTP/AVP 0 8 101'] },
  } },
];

const only = process.argv[2];
for (const { path, about, run, rtp, expect } of FIXTURES) {
  if (only && !path.includes(only)) continue;
  const gateway = await Gateway.start({ accounts: ACCOUNTS });
  const file = join(OUT, path);
  await mkdir(join(file, '..'), { recursive: true });
  // tcpdump gives up its rights before it opens the file.
  const dir = await mkdtemp(join(tmpdir(), 'ringway-capture-'));
  await chmod(dir, 0o777);
  const tcpdump = rtp && new Child('tcpdump', 'tcpdump', ['-i', 'lo', '-U', '-c', String(RTP_PACKETS), '-w', join(dir, 'rtp.pcap'), `udp portrange ${gateway.rtpFirst}-${gateway.rtpFirst + 99}`]);
  await tcpdump?.sees(/listening on/);
  await run(gateway);
  await delay(500);
  await gateway.command(['ladder', '--all', '--pcap', `${file}.pcap`]);
  await tcpdump?.stop('SIGINT');
  if (rtp) await copyFile(join(dir, 'rtp.pcap'), `${file}.rtp.pcap`);
  const accounts = Object.entries(expect).map(([name, { statuses, requests, sdp }]) => `
[[account]]
name = "${name}"
number = "${ACCOUNTS[name]}"
password = "${passwordOf(name)}"
# What its device is answered, and what it is asked, in order.
statuses = [${statuses.join(', ')}]
requests = ${JSON.stringify(requests)}
# What must stand in the SDP that it is sent.
sdp = ${JSON.stringify(sdp)}
`);
  await writeFile(`${file}.toml`, `# ${about}. Made by script/capture-fixtures.
domain = "${DOMAIN}"
# The gateway's own addresses in the capture.
udp = "${gateway.sip}"
websocket = "${ADDRESS}:${gateway.webPort}"
browser_profile = "jssip"
phone_profile = "generic-phone"
${rtp ? `# UDP ports of the gateway's trunk side in the .rtp.pcap.\nrtp_ports = [${gateway.rtpFirst}, ${gateway.rtpFirst + 99}]\n` : ''}${accounts.join('')}`);
  await gateway.stop();
  await rm(dir, { recursive: true, force: true });
  console.log(`${path}: ${about}`);
}
await stopAll();
process.exit();
