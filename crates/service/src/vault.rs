//! The key that seals secrets at rest: in a file of the service's home, not in its database, nor in a backup.

use crate::Error;
use bursa_core::id::UserId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const KEY: usize = 32;
const PURPOSE: &[u8] = b"bursa secret 1";

/// Seals and opens. `Debug` shows nothing of the key.
#[derive(Debug)]
pub(crate) struct Vault(LessSafeKey);

impl Vault {
    /// With the key in this file, which is made if there is none.
    ///
    /// # Errors
    /// One sentence: it cannot be read or written, others can read it, or it is no key.
    pub(crate) fn open(file: &Path) -> Result<Self, Error> {
        let refused =
            |why: String| Error::Refused(format!("the key {} cannot be used: {why}", file.display()));
        let key = match fs::metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(file),
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                return Err(refused("others can read it; run chmod 600 on it".to_owned()));
            }
            Ok(_) => fs::read(file),
            Err(error) => Err(error),
        };
        let key = key.map_err(|error| refused(error.to_string()))?;
        let no_key = || refused(format!("it has not {KEY} bytes; bring it back from where you keep a copy"));
        UnboundKey::new(&AES_256_GCM, &key).map(|key| Self(LessSafeKey::new(key))).map_err(|_| no_key())
    }

    /// A value of this user's secret of this name, for the store.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn seal(&self, user: &UserId, name: &str, value: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        crate::clock::random(&mut nonce)?;
        let mut bytes = value.to_vec();
        let whose = Aad::from(whose(user, name));
        let sealed = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), whose, &mut bytes);
        sealed.map_err(|_| io::Error::other("a secret could not be sealed"))?;
        Ok([nonce.as_slice(), &bytes].concat())
    }

    /// The value again; `None`: another key sealed it, or for another name or user.
    pub(crate) fn unseal(&self, user: &UserId, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = self.0.open_in_place(nonce, Aad::from(whose(user, name)), &mut bytes).ok()?.len();
        bytes.truncate(open);
        Some(bytes)
    }
}

/// What the seal also vouches for.
fn whose(user: &UserId, name: &str) -> Vec<u8> {
    [PURPOSE, user.as_bytes(), name.as_bytes()].concat()
}

/// A new key, on disk before anything is sealed with it.
fn make(file: &Path) -> io::Result<Vec<u8>> {
    let mut key = [0; KEY];
    crate::clock::random(&mut key)?;
    let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    made.write_all(&key)?;
    made.sync_all()?;
    file.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
    Ok(key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_for_the_same_name_and_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets.key");
        let vault = Vault::open(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (user, other) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let sealed = vault.seal(&user, "TOKEN", b"s3cr3t").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"s3cr3t"));
        assert_ne!(sealed, vault.seal(&user, "TOKEN", b"s3cr3t").unwrap(), "a nonce of its own each time");
        let again = Vault::open(&file).unwrap();
        assert_eq!(again.unseal(&user, "TOKEN", &sealed).as_deref(), Some(b"s3cr3t".as_slice()));
        assert_eq!(again.unseal(&user, "OTHER", &sealed), None);
        assert_eq!(again.unseal(&other, "TOKEN", &sealed), None);
        for length in 0..sealed.len() {
            assert_eq!(again.unseal(&user, "TOKEN", &sealed[..length]), None);
        }
        let elsewhere = Vault::open(&dir.path().join("other.key")).unwrap();
        assert_eq!(elsewhere.unseal(&user, "TOKEN", &sealed), None);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets.key");
        Vault::open(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Vault::open(&file).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, [0; KEY - 1]).unwrap();
        assert!(Vault::open(&file).unwrap_err().to_string().contains("has not 32 bytes"));
    }
}
