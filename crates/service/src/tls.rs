//! TLS of the REST API: certificate and key from files, read again on SIGHUP, or made here for a trial.

use crate::Error;
use crate::home::write_private;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ring::digest::{SHA256, digest};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Whether the REST API speaks TLS, and with which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It does not.
    Off,
    /// With these files, in PEM: the certificate with what links it to its authority, and its key.
    Files {
        /// The certificate.
        cert: PathBuf,
        /// Its key, which only the owner may read.
        key: PathBuf,
    },
    /// With a certificate of its own, which clients know by its hash.
    SelfSigned,
}

/// Certificate and key in use.
#[derive(Debug)]
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    now: Mutex<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    /// SHA-256 of the certificate, in hexadecimal.
    pin: String,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Tls {
    /// What `source` says; makes a certificate below `service` if it is to be made and there is none.
    ///
    /// # Errors
    /// One sentence: which file cannot be used, and why.
    pub(crate) fn open(source: &Source, service: &Path, names: &[String]) -> Result<Option<Self>, Error> {
        let (cert, key) = match source {
            Source::Off => return Ok(None),
            Source::Files { cert, key } => (cert.clone(), key.clone()),
            Source::SelfSigned => self_signed(service, names)?,
        };
        let now = Mutex::new(load(&cert, &key)?);
        Ok(Some(Self { cert, key, now }))
    }

    fn now(&self) -> Loaded {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.now().acceptor
    }

    pub(crate) fn pin(&self) -> String {
        self.now().pin
    }

    /// Reads the files again on each SIGHUP, until `stopping` changes; what cannot be used leaves things as they are.
    pub(crate) async fn reload_on_hangup(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return tracing::warn!(%error, "SIGHUP cannot be listened to"),
        };
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = stopping.changed() => return,
            }
            match load(&self.cert, &self.key) {
                Ok(loaded) => {
                    tracing::info!(pin = loaded.pin, "the certificate was read again");
                    *self.now.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
                }
                Err(error) => tracing::error!(%error, "the certificate in use stays"),
            }
        }
    }
}

fn load(cert: &Path, key: &Path) -> Result<Loaded, Error> {
    let unusable = |path: &Path, why: String| {
        Error::Refused(format!(
            "cannot serve TLS with {}: {why}; set service.tls_cert and service.tls_key to a certificate and its key, in PEM",
            path.display()
        ))
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(cert, error.to_string()))?;
    let first = chain.first().ok_or_else(|| unusable(cert, "it has no certificate".into()))?;
    let pin = hex(digest(&SHA256, first).as_ref());
    let mode = std::fs::metadata(key).map_err(|error| unusable(key, error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let why = format!("others may read it (mode {:o}); say `chmod 600` to it", mode & 0o777);
        return Err(unusable(key, why));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| unusable(key, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), pin })
}

/// The certificate of a trial and its key, made once.
fn self_signed(service: &Path, names: &[String]) -> Result<(PathBuf, PathBuf), Error> {
    let (cert, key) = (service.join("tls.crt"), service.join("tls.key"));
    if !(cert.exists() && key.exists()) {
        let fixed = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = generate_simple_self_signed([&fixed, names].concat());
        let CertifiedKey { cert: made, signing_key } = made.map_err(|error| {
            Error::Refused(format!("cannot make a certificate: {error}; leave out --tls-self-signed"))
        })?;
        write_private(&key, &signing_key.serialize_pem())?;
        write_private(&cert, &made.pem())?;
    }
    Ok((cert, key))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_keeps_its_certificate_and_a_key_that_others_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = |source: &Source| Tls::open(source, dir.path(), &["lab".to_owned()]);
        let pin = open(&Source::SelfSigned).unwrap().unwrap().pin();
        assert_eq!(pin.len(), 64);
        assert_eq!(open(&Source::SelfSigned).unwrap().unwrap().pin(), pin);
        let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let files = Source::Files { cert: cert.clone(), key };
        let error = open(&files).unwrap_err().to_string();
        assert!(error.contains("tls.key") && error.contains("chmod 600"), "{error}");
        let files = Source::Files { cert: dir.path().join("none"), key: cert };
        let error = open(&files).unwrap_err().to_string();
        assert!(error.contains("/none") && !error.contains('\n'), "{error}");
    }
}
