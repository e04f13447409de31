//! The key by which this service says who logged in: id tokens of OpenID Connect, RS256.
//!
//! RSA, since Globus's clients read no other key. It is made when the first of them asks, and kept in `login.key`.

use crate::Error;
use crate::home::write_private;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair as RsaKey, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::sync::OnceCell;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// Bits of its modulus.
const BITS: usize = 2_048;

/// The key, once it is needed.
#[derive(Debug)]
pub(crate) struct Signer {
    path: PathBuf,
    key: OnceCell<Key>,
}

/// No `Debug` of its parts: it is a secret.
struct Key {
    pair: RsaKey,
    /// Its name: the begin of the public key's hash.
    id: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Signer {
    /// That of the service whose files are in `service`.
    pub(crate) fn new(service: &Path) -> Self {
        Self { path: service.join("login.key"), key: OnceCell::new() }
    }

    /// The public key, as a set of one (RFC 7517).
    pub(crate) async fn public(&self) -> Result<Value, Error> {
        let key = self.key().await?;
        let PublicKeyComponents::<Vec<u8>> { n, e } = key.pair.public().into();
        let [n, e] = [n, e].map(|number| URL_SAFE_NO_PAD.encode(number));
        Ok(json!({ "keys": [{ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": key.id, "n": n, "e": e }] }))
    }

    /// These claims, signed (RFC 7515, compact).
    pub(crate) async fn sign(&self, claims: &Value) -> Result<String, Error> {
        let key = self.key().await?;
        let head = json!({ "alg": "RS256", "typ": "JWT", "kid": key.id });
        let [head, claims] = [&head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{head}.{claims}");
        let mut signature = vec![0; key.pair.public().modulus_len()];
        let signed = key.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        signed.map_err(|_| Error::Refused("an id token could not be signed".to_owned()))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    async fn key(&self) -> Result<&Key, Error> {
        self.key.get_or_try_init(|| load_or_make(self.path.clone())).await
    }
}

/// On a thread: looking for primes takes a while.
async fn load_or_make(path: PathBuf) -> Result<Key, Error> {
    let made = tokio::task::spawn_blocking(move || {
        if !path.exists() {
            make(&path)?;
        }
        load(&path)
    });
    made.await.map_err(|error| Error::Refused(format!("the key of logins could not be made: {error}")))?
}

fn make(path: &Path) -> Result<(), Error> {
    let unmade = |why: String| Error::Refused(format!("the key of logins could not be made: {why}"));
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS).map_err(|why| unmade(why.to_string()))?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|why| unmade(why.to_string()))?;
    write_private(path, &pem)
}

fn load(path: &Path) -> Result<Key, Error> {
    let unusable = |why: String| {
        let path = path.display();
        Error::Refused(format!("{path} is no key of logins: {why}; remove it, and another is made"))
    };
    let secret = PrivateKeyDer::from_pem_file(path).map_err(|why| unusable(why.to_string()))?;
    let pair = RsaKey::from_pkcs8(secret.secret_der()).map_err(|why| unusable(why.to_string()))?;
    let hash = digest(&SHA256, pair.public().as_ref());
    let id = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12]);
    Ok(Key { pair, id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn what_it_signs_its_public_key_verifies_and_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let signer = Signer::new(dir.path());
        let token = signer.sign(&json!({ "sub": "ann" })).await.unwrap();
        let mode = std::fs::metadata(dir.path().join("login.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let again = Signer::new(dir.path());
        let keys = again.public().await.unwrap();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(keys["keys"][0][name].as_str().unwrap()).unwrap();
        let (text, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = RsaPublicKeyComponents { n: part("n"), e: part("e") };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, text.as_bytes(), &signature).unwrap();
        assert!(public.verify(&RSA_PKCS1_2048_8192_SHA256, b"another", &signature).is_err());
        let (head, claims) = text.split_once('.').unwrap();
        let read = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(read(head)["kid"], keys["keys"][0]["kid"]);
        assert_eq!(read(claims), json!({ "sub": "ann" }));

        std::fs::write(dir.path().join("login.key"), "nonsense").unwrap();
        let error = Signer::new(dir.path()).public().await.unwrap_err().to_string();
        assert!(error.contains("login.key") && error.contains("remove it"), "{error}");
    }
}
