// What a gateway sent to each account's devices, out of the capture that `ringway ladder --pcap` writes.
import { readFile } from 'node:fs/promises';

function* datagrams(file) {
  for (let at = 24; at + 16 <= file.length; at += 16 + file.readUInt32LE(at + 8)) {
    const ip = at + 16 + 14;
    const udp = ip + (file[ip] & 15) * 4;
    yield { from: file.readUInt16BE(udp), to: file.readUInt16BE(udp + 2), text: file.toString('utf8', udp + 8, udp + file.readUInt16BE(udp + 4)) };
  }
}

/** {account: {statuses, requests, sdp}}, in order; a device is known by who it says it is in its first message. */
export async function sentToDevices(path, { udpPort, webPort }) {
  const [names, accounts] = [new Map(), {}];
  for (const { from, to, text } of datagrams(await readFile(path))) {
    if ([udpPort, webPort].includes(to)) {
      if (!names.has(from)) names.set(from, text.match(/^From:.*?sip:([^@>]+)@/mi)[1]);
      continue;
    }
    const name = names.get(to);
    const account = accounts[name] ??= { statuses: [], requests: [], sdp: [] };
    const status = text.match(/^SIP\/2.0 (\d+)/);
    if (status) account.statuses.push(Number(status[1]));
    else account.requests.push(text.split(' ')[0]);
    account.sdp.push(...[...text.matchAll(/^a=(sendrecv|sendonly|recvonly|inactive)/gm)].map(([line]) => line));
  }
  for (const account of Object.values(accounts)) account.sdp = [...new Set(account.sdp)];
  return accounts;
}
