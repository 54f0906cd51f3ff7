//! A WebRTC peer that shares no code with ours: webrtc-ice, dtls and webrtc-srtp, controlling, as a browser behind JsSIP is.

#![allow(unreachable_pub, dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dtls::config::{ClientAuthType, Config as DtlsConfig, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use ringway::plan::{DtlsRole, LegRemote};
use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::candidate::Candidate;
use webrtc_ice::candidate::candidate_base::unmarshal_candidate;
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_srtp::config::Config as SrtpConfig;
use webrtc_srtp::context::Context;
use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::Conn;

/// A peer that has gathered but not connected.
pub struct Browser {
    agent: Agent,
    creds: (String, String),
    certificate: Certificate,
}

/// A connected peer.
pub struct Call {
    conn: Arc<dyn Conn + Send + Sync>,
    dtls: Arc<DTLSConn>,
    tx: Context,
    rx: Context,
    incoming: mpsc::Receiver<Vec<u8>>,
    /// Keeps checks and consent going.
    agent: Agent,
    fingerprint: [u8; 32],
    /// Dropped, it would end the checks.
    _cancel: mpsc::Sender<()>,
    /// SHA-256 of the certificate that the gateway showed.
    pub gateway_fingerprint: [u8; 32],
}

impl Browser {
    /// Gathers on the loopback.
    pub async fn new() -> Self {
        // Already installed by another test of this process is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = AgentConfig {
            network_types: vec![NetworkType::Udp4],
            multicast_dns_mode: MulticastDnsMode::Disabled,
            include_loopback: true,
            ip_filter: Arc::new(Some(Box::new(|ip| ip.is_loopback()))),
            is_controlling: true,
            check_interval: Duration::from_millis(20),
            keepalive_interval: Some(Duration::from_millis(500)),
            ..AgentConfig::default()
        };
        let agent = Agent::new(config).await.unwrap();
        let (gathered_tx, mut gathered) = mpsc::channel::<()>(1);
        agent.on_candidate(Box::new(move |candidate| {
            let gathered_tx = gathered_tx.clone();
            Box::pin(async move {
                if candidate.is_none() {
                    let _ = gathered_tx.send(()).await;
                }
            })
        }));
        agent.gather_candidates().unwrap();
        gathered.recv().await.unwrap();
        let creds = agent.get_local_user_credentials().await;
        let certificate = Certificate::generate_self_signed(vec!["browser.test".to_owned()]).unwrap();
        Self { agent, creds, certificate }
    }

    /// What its SDP would say; `role` is the gateway's.
    pub fn remote(&self, role: DtlsRole) -> LegRemote {
        let fingerprint = Sha256::digest(&self.certificate.certificate[0]).into();
        LegRemote::WebRtc { ice_ufrag: self.creds.0.clone(), ice_pwd: self.creds.1.clone(), fingerprint, role }
    }

    /// Checks, shakes hands, takes keys. `role` is the gateway's.
    pub async fn connect(
        self,
        gateway: SocketAddr,
        creds: (&str, &str),
        role: DtlsRole,
        profile: SrtpProtectionProfile,
    ) -> Result<Call, dtls::Error> {
        let line = format!("1 1 udp 2130706431 {} {} typ host", gateway.ip(), gateway.port());
        let candidate: Arc<dyn Candidate + Send + Sync> = Arc::new(unmarshal_candidate(&line).unwrap());
        self.agent.add_remote_candidate(&candidate).unwrap();
        let (cancel, cancelled) = mpsc::channel(1);
        let dialled = self.agent.dial(cancelled, creds.0.to_owned(), creds.1.to_owned());
        let conn: Arc<dyn Conn + Send + Sync> = tokio::time::timeout(Duration::from_secs(10), dialled).await.unwrap().unwrap();

        let (dtls_side, incoming) = split(Arc::clone(&conn)).await;
        let is_client = role == DtlsRole::Server;
        let fingerprint = Sha256::digest(&self.certificate.certificate[0]).into();
        let config = DtlsConfig {
            certificates: vec![self.certificate],
            srtp_protection_profiles: vec![profile],
            client_auth: ClientAuthType::RequireAnyClientCert,
            extended_master_secret: ExtendedMasterSecretType::Require,
            insecure_skip_verify: true,
            flight_interval: Duration::from_millis(200),
            ..DtlsConfig::default()
        };
        let shaken = DTLSConn::new(dtls_side, config, is_client, None);
        let dtls =
            tokio::time::timeout(Duration::from_secs(10), shaken).await.map_err(|_| dtls::Error::Other("slow".into()))??;
        let state = dtls.connection_state().await;
        let gateway_fingerprint = Sha256::digest(&state.peer_certificates[0]).into();
        let profile = match dtls.selected_srtpprotection_profile() {
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
            other => panic!("{other:?} was not offered"),
        };
        let mut srtp = SrtpConfig { profile, ..SrtpConfig::default() };
        srtp.extract_session_keys_from_dtls(state, is_client).await.unwrap();
        let keys = &srtp.keys;
        let tx = Context::new(&keys.local_master_key, &keys.local_master_salt, profile, None, None).unwrap();
        let (rtp, rtcp) = (srtp_replay_protection(64), srtcp_replay_protection(64));
        let rx = Context::new(&keys.remote_master_key, &keys.remote_master_salt, profile, Some(rtp), Some(rtcp)).unwrap();
        let dtls = Arc::new(dtls);
        Ok(Call { conn, dtls, tx, rx, incoming, agent: self.agent, fingerprint, _cancel: cancel, gateway_fingerprint })
    }
}

/// DTLS apart from the rest, by first byte. Two sockets on the loopback stand between, for webrtc-util knows those as `Conn`.
async fn split(conn: Arc<dyn Conn + Send + Sync>) -> (Arc<dyn Conn + Send + Sync>, mpsc::Receiver<Vec<u8>>) {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    near.connect(far.local_addr().unwrap()).await.unwrap();
    far.connect(near.local_addr().unwrap()).await.unwrap();
    let (media, incoming) = mpsc::channel(1_000);
    tokio::spawn(async move {
        let (mut from_net, mut from_dtls) = ([0; 2_048], [0; 2_048]);
        loop {
            tokio::select! {
                received = conn.recv(&mut from_net) => {
                    let Ok(len) = received else { return };
                    let datagram = &from_net[..len];
                    if (20..64).contains(&datagram[0]) {
                        let _ = far.send(datagram).await;
                    } else {
                        let _ = media.try_send(datagram.to_vec());
                    }
                }
                received = far.recv(&mut from_dtls) => {
                    let Ok(len) = received else { return };
                    let _ = conn.send(&from_dtls[..len]).await;
                }
            }
        }
    });
    (Arc::new(near), incoming)
}

impl Call {
    /// Starts ICE anew, as a page does whose network has changed; what its SDP would say then.
    pub async fn restart(&self, role: DtlsRole) -> LegRemote {
        self.agent.restart(String::new(), String::new()).await.unwrap();
        self.agent.gather_candidates().unwrap();
        while self.agent.get_local_candidates().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (ice_ufrag, ice_pwd) = self.agent.get_local_user_credentials().await;
        LegRemote::WebRtc { ice_ufrag, ice_pwd, fingerprint: self.fingerprint, role }
    }

    /// Checks with the gateway's new credentials until a pair is selected.
    pub async fn reconnect(&self, gateway: SocketAddr, creds: (&str, &str)) {
        self.agent.set_remote_credentials(creds.0.to_owned(), creds.1.to_owned()).await.unwrap();
        let line = format!("1 1 udp 2130706431 {} {} typ host", gateway.ip(), gateway.port());
        let candidate: Arc<dyn Candidate + Send + Sync> = Arc::new(unmarshal_candidate(&line).unwrap());
        self.agent.add_remote_candidate(&candidate).unwrap();
        let selected = async {
            while self.agent.get_selected_candidate_pair().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), selected).await.expect("a pair");
    }

    /// Protects and sends an RTP packet.
    pub async fn send_rtp(&mut self, packet: &[u8]) {
        let protected = self.tx.encrypt_rtp(packet).unwrap();
        self.conn.send(&protected).await.unwrap();
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&self, datagram: &[u8]) {
        self.conn.send(datagram).await.unwrap();
    }

    /// The next RTP packet in the clear; none when none comes in time. RTCP must decrypt, and is passed over.
    pub async fn recv_rtp(&mut self, wait: Duration) -> Option<Vec<u8>> {
        loop {
            let datagram = tokio::time::timeout(wait, self.incoming.recv()).await.ok()??;
            if (192..224).contains(&datagram[1]) {
                self.rx.decrypt_rtcp(&datagram).unwrap();
                continue;
            }
            return Some(self.rx.decrypt_rtp(&datagram).unwrap().to_vec());
        }
    }

    /// Ends DTLS, as a page does that closes its connection.
    pub async fn close(&self) {
        self.dtls.close().await.unwrap();
    }
}
