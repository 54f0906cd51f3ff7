use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// The organisation's own.
    Files {
        /// The chain, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
    /// Made at the first start and kept in this directory.
    SelfSigned {
        /// `data_dir`.
        dir: PathBuf,
        /// The names that it is for.
        names: Vec<String>,
        /// The addresses that it is for.
        addresses: Vec<IpAddr>,
    },
}

/// The TLS side of the web port, with a certificate that is read or made.
///
/// # Errors
/// A file that cannot be read or written, or holds no certificate or key; says which.
pub fn load_or_make(certificate: &Certificate) -> io::Result<Arc<ServerConfig>> {
    let (cert_file, key_file) = match certificate {
        Certificate::Files { certificate, key } => (certificate.clone(), key.clone()),
        Certificate::SelfSigned { dir, names, addresses } => {
            let files = (dir.join("web-certificate.pem"), dir.join("web-key.pem"));
            if !files.0.exists() || !files.1.exists() {
                make(&files.0, &files.1, names, addresses)?;
            }
            files
        }
    };
    let in_file = |file: &Path, error: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", file.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&cert_file)
        .and_then(Iterator::collect)
        .map_err(|error| in_file(&cert_file, format!("expected a certificate in PEM: {error}")))?;
    let key = PrivateKeyDer::from_pem_file(&key_file)
        .map_err(|error| in_file(&key_file, format!("expected a private key in PEM: {error}")))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| in_file(&cert_file, format!("certificate and key do not go together: {error}")))?;
    // WebSockets are upgraded from HTTP/1.1 (RFC 6455).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn make(cert_file: &Path, key_file: &Path, names: &[String], addresses: &[IpAddr]) -> io::Result<()> {
    let other = |error: rcgen::Error| io::Error::other(format!("making a certificate: {error}"));
    let key = KeyPair::generate().map_err(other)?;
    let subjects: Vec<String> = names.iter().cloned().chain(addresses.iter().map(ToString::to_string)).collect();
    let mut params = CertificateParams::new(subjects).map_err(other)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, names.first().map_or("ringway", String::as_str));
    params.distinguished_name = subject;
    let certificate = params.self_signed(&key).map_err(other)?;
    fs::write(cert_file, certificate.pem())?;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(key_file)?;
    file.write_all(key.serialize_pem().as_bytes())
}
