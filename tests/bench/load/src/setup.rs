//! ICE and DTLS of all browsers, begun at a given rate: what must be done before media flows.

use anyhow::Result;
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::endpoint::Endpoint;
use crate::handshake::{Done, Handshake};
use crate::hist::percentile;
use crate::net_sys::{BATCH, Batch, Epoll, now_ns};
use crate::process;

/// A check that is not answered is sent again after this.
const CHECK_AGAIN_NS: i64 = 100_000_000;
/// Who has no keys by then, after all have begun, has failed.
const PATIENCE_NS: i64 = 8_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// How the set-up went: from an endpoint's first check to its keys.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SetUp {
    ice: usize,
    dtls: usize,
    failed: usize,
    wall_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    peer_cpu_ms_per_endpoint: f64,
    gen_cpu_ms_per_endpoint: f64,
    error: Option<String>,
}

impl SetUp {
    pub(crate) fn has_any(&self) -> bool {
        self.ice + self.dtls > 0
    }
}

#[derive(Default)]
struct Progress {
    started_ns: Option<i64>,
    check_ns: i64,
    incoming: Option<mpsc::UnboundedSender<Vec<u8>>>,
    done_ns: Option<i64>,
    has_failed: bool,
}

/// Carries it out; answers the connections, which must be kept, and how it went.
pub(crate) async fn set_up(
    endpoints: &mut [Endpoint],
    epoll: &mut Epoll,
    certificate: Option<Certificate>,
    rate: f64,
    pids: &[u32],
) -> Result<(Vec<DTLSConn>, SetUp)> {
    let wanted = |endpoint: &Endpoint| endpoint.ice.is_some() || endpoint.dtls_client.is_some();
    let all: Vec<usize> = (0..endpoints.len()).filter(|at| wanted(&endpoints[*at])).collect();
    let mut report = SetUp {
        ice: endpoints.iter().filter(|endpoint| endpoint.ice.is_some()).count(),
        dtls: endpoints.iter().filter(|endpoint| endpoint.dtls_client.is_some()).count(),
        ..SetUp::default()
    };
    let mut connections = Vec::new();
    if all.is_empty() {
        return Ok((connections, report));
    }
    let mut progress: Vec<Progress> = endpoints.iter().map(|_| Progress::default()).collect();
    let (done_tx, mut done) = mpsc::unbounded_channel::<Done>();
    let mut batch = Batch::new();
    let (cpu, own) = (process::cpu_ns(pids), crate::net_sys::thread_cpu_ns());
    let begin = now_ns();
    let end = begin + (all.len() as f64 / rate * 1e9) as i64 + PATIENCE_NS;
    let mut started = 0;
    loop {
        let now = now_ns();
        let due = ((now - begin) as f64 / 1e9 * rate) as usize + 1;
        while started < due.min(all.len()) {
            progress[all[started]].started_ns = Some(now);
            started += 1;
        }
        let mut left = all.len() - started;
        for at in &all[..started] {
            let (endpoint, state) = (&mut endpoints[*at], &mut progress[*at]);
            if state.done_ns.is_some() || state.has_failed {
                continue;
            }
            left += 1;
            let is_connected = match &mut endpoint.ice {
                Some(ice) if !ice.is_connected => {
                    if now >= state.check_ns {
                        state.check_ns = now + CHECK_AGAIN_NS;
                        let check = ice.check()?;
                        endpoint.socket.send(&check);
                    }
                    false
                }
                _ => true,
            };
            match endpoint.dtls_client {
                None if is_connected => state.done_ns = Some(now),
                // Who waits for a ClientHello must not miss it.
                Some(is_client) if state.incoming.is_none() && (is_connected || !is_client) => {
                    let certificate = certificate.clone().ok_or_else(|| anyhow::anyhow!("dtls needs --cert and --key"))?;
                    let (tx, incoming) = mpsc::unbounded_channel();
                    state.incoming = Some(tx);
                    let (fd, remote) = (endpoint.socket.fd(), endpoint.remote);
                    let handshake = Handshake { at: *at, fd, remote, is_client, certificate, incoming };
                    tokio::spawn(handshake.run(done_tx.clone()));
                }
                _ => {}
            }
        }
        while let Ok(Done { at, keys, done_ns }) = done.try_recv() {
            match keys {
                Ok((srtp, connection)) => {
                    endpoints[at].srtp = Some(srtp);
                    connections.push(connection);
                    progress[at].done_ns = Some(done_ns);
                }
                Err(error) => {
                    progress[at].has_failed = true;
                    report.error = Some(error.to_string());
                }
            }
        }
        if left == 0 || now > end {
            break;
        }
        let read = read(endpoints, epoll, &mut batch, &progress);
        // The handshakes have their turn; with nothing new they have had it.
        tokio::task::yield_now().await;
        if read == 0 {
            epoll.wait(Some(200_000));
        }
    }
    report.wall_ms = (now_ns() - begin) as f64 / 1e6;
    report.gen_cpu_ms_per_endpoint = (crate::net_sys::thread_cpu_ns() - own) as f64 / 1e6 / all.len() as f64;
    // The far side may still have work of it to do.
    crate::net_sys::sleep_until(now_ns() + SECOND_NS * 3 / 10);
    report.peer_cpu_ms_per_endpoint = (process::cpu_ns(pids) - cpu) as f64 / 1e6 / all.len() as f64;
    let took = |at: &usize| Some((progress[*at].done_ns? - progress[*at].started_ns?) as f64 / 1e6);
    let mut times: Vec<f64> = all.iter().filter_map(took).collect();
    report.failed = all.len() - times.len();
    report.p50_ms = percentile(&mut times, 0.5);
    report.p99_ms = percentile(&mut times, 0.99);
    report.max_ms = percentile(&mut times, 1.0);
    Ok((connections, report))
}

/// Reads what is there: checks are answered, DTLS goes to its handshake. Answers how many sockets had something.
fn read(endpoints: &mut [Endpoint], epoll: &mut Epoll, batch: &mut Batch, progress: &[Progress]) -> usize {
    let count = epoll.wait(Some(0));
    for ready in 0..count {
        let at = epoll.ready(ready);
        let endpoint = &mut endpoints[at];
        for one in 0..batch.recv(&endpoint.socket, BATCH) {
            let received = batch.received(one);
            match (received.data.first(), &mut endpoint.ice) {
                (Some(0..=1), Some(ice)) => {
                    if let Some(answer) = ice.handle(received.data, received.from) {
                        endpoint.socket.send(&answer);
                    }
                }
                (Some(20..=63), _) => {
                    if let Some(incoming) = &progress[at].incoming {
                        // A handshake that has ended reads no more.
                        let _ = incoming.send(received.data.to_vec());
                    }
                }
                _ => {}
            }
        }
    }
    count
}
