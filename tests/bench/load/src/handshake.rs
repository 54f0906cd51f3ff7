//! DTLS-SRTP by the dtls crate (RFC 5764), over the endpoints' raw sockets.

use std::any::Any;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::{Certificate, CryptoPrivateKey, CryptoPrivateKeyKind};
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use tokio::sync::{Mutex, mpsc};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::Conn;

use crate::endpoint::Srtp;
use crate::net_sys;

/// A flight is sent again after this: between what browsers wait (50 ms) and what RFC 6347 says (1 s).
const FLIGHT: Duration = Duration::from_millis(400);

/// Certificate and key (PEM; PKCS#8, P-256) of all browsers.
pub(crate) fn identity(certificate: &Path, key: &Path) -> Result<Certificate> {
    let der = |path: &Path| -> Result<Vec<u8>> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        BASE64_STANDARD.decode(lines).with_context(|| path.display().to_string())
    };
    let serialized_der = der(key)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &serialized_der, &SystemRandom::new());
    let pair = pair.map_err(|error| anyhow::anyhow!("{}: {error}", key.display()))?;
    Ok(Certificate {
        certificate: vec![der(certificate)?.into()],
        private_key: CryptoPrivateKey { kind: CryptoPrivateKeyKind::Ecdsa256(pair), serialized_der },
    })
}

/// The DTLS datagrams of one endpoint: out by its socket, in by whoever reads that.
struct Wire {
    fd: RawFd,
    remote: SocketAddrV4,
    incoming: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
}

#[async_trait]
impl Conn for Wire {
    async fn connect(&self, _: SocketAddr) -> webrtc_util::Result<()> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        let datagram = self.incoming.lock().await.recv().await.ok_or(webrtc_util::Error::ErrClosedListener)?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        Ok((self.recv(buffer).await?, self.remote.into()))
    }

    async fn send(&self, datagram: &[u8]) -> webrtc_util::Result<usize> {
        // What the kernel does not take is lost, as on any wire.
        net_sys::send(self.fd, datagram);
        Ok(datagram.len())
    }

    async fn send_to(&self, datagram: &[u8], _: SocketAddr) -> webrtc_util::Result<usize> {
        self.send(datagram).await
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.remote.into())
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.remote.into())
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// What came of a handshake; the connection is kept, so that nothing is said of its end.
pub(crate) struct Done {
    pub(crate) at: usize,
    pub(crate) keys: Result<(Srtp, DTLSConn)>,
    pub(crate) done_ns: i64,
}

/// One handshake to carry out.
pub(crate) struct Handshake {
    pub(crate) at: usize,
    pub(crate) fd: RawFd,
    pub(crate) remote: SocketAddrV4,
    pub(crate) is_client: bool,
    pub(crate) certificate: Certificate,
    pub(crate) incoming: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Handshake {
    pub(crate) async fn run(self, done: mpsc::UnboundedSender<Done>) {
        let at = self.at;
        let keys = self.keys().await;
        // The receiver is gone only when the set-up has been given up.
        let _ = done.send(Done { at, keys, done_ns: net_sys::now_ns() });
    }

    async fn keys(self) -> Result<(Srtp, DTLSConn)> {
        let wire = Wire { fd: self.fd, remote: self.remote, incoming: Mutex::new(self.incoming) };
        let config = Config {
            certificates: vec![self.certificate],
            srtp_protection_profiles: vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80],
            client_auth: ClientAuthType::RequireAnyClientCert,
            extended_master_secret: ExtendedMasterSecretType::Require,
            insecure_skip_verify: true,
            flight_interval: FLIGHT,
            ..Config::default()
        };
        let connection = DTLSConn::new(Arc::new(wire), config, self.is_client, None).await?;
        let mut srtp = webrtc_srtp::config::Config { profile: ProtectionProfile::Aes128CmHmacSha1_80, ..Default::default() };
        srtp.extract_session_keys_from_dtls(connection.connection_state().await, self.is_client).await?;
        let keys = &srtp.keys;
        let context = |key: &[u8], salt: &[u8]| Context::new(key, salt, ProtectionProfile::Aes128CmHmacSha1_80, None, None);
        let tx = context(&keys.local_master_key, &keys.local_master_salt)?;
        let rx = context(&keys.remote_master_key, &keys.remote_master_salt)?;
        Ok((Srtp { tx, rx }, connection))
    }
}
