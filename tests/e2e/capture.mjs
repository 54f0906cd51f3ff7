// Makes pcap-fixtures/: SIP as the gateway traced it, RTP on the trunk side as tcpdump saw it, and beside them who is who.
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Baresip } from './lib/baresip.mjs';
import { BrowserPeer, launchChromium, launchFirefox } from './lib/browsers.mjs';
import { ADDRESS, DOMAIN, Gateway, passwordOf } from './lib/gateway.mjs';
import { Child, delay, stopAll } from './lib/process.mjs';
import { connect } from './lib/hearing.mjs';
import { sentToDevices } from './lib/pcap.mjs';
import { hangsUp, invite, pause, recv, within } from './lib/scenario.mjs';
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

/** Devices as the capture needs them, gone again afterwards; each is given what it needs to be told apart. */
async function withPeers(gateway, { browsers = [], phones = [] }, test) {
  const launched = [];
  const peers = {};
  try {
    for (const [name, library, launch = launchChromium] of browsers) {
      const browser = await launch();
      launched.push(browser);
      peers[name] = await BrowserPeer.start(browser, gateway, library, name, { instance: INSTANCE });
    }
    for (const [name, hz] of phones) peers[name] = await Baresip.start(gateway, name, { hz });
    await test(peers);
  } finally {
    for (const browser of launched) await browser.close();
    for (const [name] of phones) await peers[name]?.stop();
  }
}

const INSTANCE = '3b0ce2a4-7a5e-4c11-9d43-000000000001';
const MOMENT_MS = 400;

const hold = (library, launch, options) => gateway => withPeers(gateway, { browsers: [['alice', library, launch]], phones: [['hall', 1000]] }, async ({ alice, hall }) => {
  await connect(alice, hall, 200);
  await delay(MOMENT_MS);
  for (const step of ['hold', 'resume']) {
    await alice[step](options);
    await delay(MOMENT_MS);
  }
  hall.hangUp();
  await Promise.all([alice.over(), hall.over()]);
});

const phoneHolds = gateway => withPeers(gateway, { browsers: [['alice', 'jssip']], phones: [['hall', 1000]] }, async ({ alice, hall }) => {
  await connect(hall, alice, 101);
  await delay(MOMENT_MS);
  for (const step of ['hold', 'resume']) {
    await hall[step]();
    await delay(MOMENT_MS);
  }
  await alice.hangUp();
  await Promise.all([alice.over(), hall.over()]);
});

const transfer = gateway => withPeers(gateway, { browsers: [['alice', 'jssip']], phones: [['hall', 1000], ['desk', 600]] }, async ({ alice, hall, desk }) => {
  await connect(alice, hall, 200);
  await delay(MOMENT_MS);
  await alice.transfer(201);
  await desk.rings();
  desk.answer();
  await desk.talks();
  await alice.sees(/^notify 200/);
  await alice.over();
  await delay(MOMENT_MS);
  desk.hangUp();
  await Promise.all([hall.over(), desk.over()]);
});

const reload = gateway => withPeers(gateway, { browsers: [['alice', 'jssip']], phones: [['hall', 1000]] }, async ({ alice, hall }) => {
  await connect(alice, hall, 200);
  await delay(MOMENT_MS);
  const replaces = await alice.page.evaluate(() => window.peer.replaces());
  await alice.load();
  await alice.sees(/^registered/);
  await alice.dial(200, [`Replaces: ${replaces}`]);
  await alice.talks();
  await delay(MOMENT_MS);
  hall.hangUp();
  await Promise.all([alice.over(), hall.over()]);
});

const fork = gateway => withPeers(gateway, { browsers: [['alice', 'jssip'], ['alice', 'jssip', launchFirefox]], phones: [['hall', 1000]] }, async ({ alice: fox, hall }) => {
  hall.dial(101);
  await fox.rings();
  await fox.answer();
  await Promise.all([fox.talks(), hall.talks()]);
  await delay(MOMENT_MS);
  hall.hangUp();
  await Promise.all([fox.over(), hall.over()]);
});

const lateOffer = gateway => withPeers(gateway, { browsers: [['alice', 'jssip']] }, async ({ alice }) => {
  const sipp = await caller(gateway, 'desk', [invite(), recv(100), recv(180, { optional: true }), recv(200, { target: true }), within('ACK', 2, { sdp: true }), pause(800), hangsUp(3)], { number: 101 });
  await alice.rings();
  await alice.answer();
  await alice.over();
  await sipp.done();
});

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

// Of these, what the gateway said is read from the capture itself: look at the ladder before you keep a new one.
FIXTURES.push(
  { path: 'jssip/hold', about: 'JsSIP in Chromium holds a phone and resumes', run: hold('jssip') },
  { path: 'jssip/hold-by-update', about: 'JsSIP in Chromium holds a phone and resumes, by UPDATE', run: hold('jssip', launchChromium, { useUpdate: true }) },
  { path: 'jssip/hold-firefox', about: 'JsSIP in Firefox holds a phone and resumes', run: hold('jssip', launchFirefox) },
  { path: 'sipjs/hold', about: 'SIP.js in Chromium holds a phone and resumes', run: hold('sipjs') },
  { path: 'baresip/hold', about: 'baresip holds a browser and resumes', run: phoneHolds },
  { path: 'jssip/transfer', about: 'JsSIP transfers a phone to a phone', run: transfer },
  { path: 'jssip/reload', about: 'a page with JsSIP is loaded again and takes its place by INVITE with Replaces', run: reload },
  { path: 'jssip/fork', about: 'Chromium and Firefox with one account ring together, Firefox answers', run: fork },
  { path: 'sipp/late-offer', about: 'sipp calls a browser without an offer and answers ours in its ACK', run: lateOffer },
);

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
  const seen = expect ?? await sentToDevices(`${file}.pcap`, gateway);
  const accounts = Object.entries(seen).map(([name, { statuses, requests, sdp }]) => `
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
