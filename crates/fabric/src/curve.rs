//! Keys: CURVE key pairs, their text form (Z85) and their files. Does not own who is allowed (`zap`).

use crate::error::{Error, KeyFileError};
use crate::ffi;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
/// A key file has two short lines; anything much larger is something else.
const FILE_BYTES: u64 = 4096;

/// The public half of a key: the identity of a process. Its text is 40 characters of Z85.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key: expected 40 characters of Z85")]
pub struct ParseKeyError;

/// A key pair. The secret leaves it only into its file and into libzmq; what is agreed with it leaves it to who asks; `Debug` shows the public half only.
#[derive(Clone)]
pub struct KeyPair {
    /// The half that others may know.
    pub public: PublicKey,
    secret: [u8; 32],
}

pub(crate) fn encode(key: &[u8; 32]) -> String {
    let mut text = String::with_capacity(40);
    for group in key.as_chunks::<4>().0 {
        let value = u32::from_be_bytes(*group);
        for power in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            text.push(char::from(ALPHABET[(value / power % 85) as usize]));
        }
    }
    text
}

/// libzmq's own decoder takes characters outside the alphabet for others: this one does not.
pub(crate) fn decode(text: &str) -> Result<[u8; 32], ParseKeyError> {
    let bytes = <&[u8; 40]>::try_from(text.as_bytes()).map_err(|_| ParseKeyError)?;
    let mut key = [0; 32];
    for (group, out) in bytes.as_chunks::<5>().0.iter().zip(key.as_chunks_mut::<4>().0) {
        let mut value = 0_u32;
        for character in group {
            let digit = ALPHABET.iter().position(|known| known == character).ok_or(ParseKeyError)?;
            let digit = u32::try_from(digit).map_err(|_| ParseKeyError)?;
            value = value.checked_mul(85).and_then(|v| v.checked_add(digit)).ok_or(ParseKeyError)?;
        }
        *out = value.to_be_bytes();
    }
    Ok(key)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        decode(text).map(Self)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// A new random pair.
    ///
    /// # Errors
    /// When libzmq has no CURVE or no source of random bytes.
    pub fn generate() -> Result<Self, Error> {
        let pair = zmq::CurveKeyPair::new().map_err(Error::Key)?;
        Ok(Self { public: PublicKey(pair.public_key), secret: pair.secret_key })
    }

    /// Reads a pair that [`KeyPair::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or lets group or others at it.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let io = |source| KeyFileError::Io { path: path.to_owned(), source };
        let damaged = |what| KeyFileError::Damaged { path: path.to_owned(), what };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        let mode = meta.permissions().mode() & 0o7777;
        if !meta.is_file() {
            return Err(damaged("it is not a file"));
        }
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES).read_to_string(&mut text).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => damaged("it is not text"),
            _ => io(error),
        })?;
        let mut lines = text.lines();
        let mut line = |name: &str| lines.next()?.strip_prefix(name).map(str::trim);
        let public = line("public ").ok_or_else(|| damaged("it has no public key"))?;
        let secret = line("secret ").ok_or_else(|| damaged("it has no secret key"))?;
        if ffi::public_of(secret).as_deref() != Some(public) {
            return Err(damaged("its two keys do not belong together"));
        }
        let key = |text| decode(text).map_err(|_| damaged("a key is not Z85"));
        Ok(Self { public: PublicKey(key(public)?), secret: key(secret)? })
    }

    /// Writes the pair to a new file that only its owner can read. Never overwrites. The file appears whole.
    ///
    /// # Errors
    /// When the file exists or cannot be written; nothing is left behind then.
    pub fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}.new", std::process::id()));
        let fresh = Path::new(&fresh);
        let saved = self.write(fresh).and_then(|()| {
            // Unlike a rename, a link takes no name that is there; not every file system has links.
            fs::hard_link(fresh, path).or_else(|error| match path.exists() {
                true => Err(error),
                false => fs::rename(fresh, path),
            })?;
            path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        });
        // The first error is the one to tell.
        let _ = fs::remove_file(fresh);
        saved.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
            _ => KeyFileError::Io { path: path.to_owned(), source },
        })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let text = format!("public {}\nsecret {}\n", self.public, encode(&self.secret));
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// What this pair and the owner of `other` know and nobody else does (X25519); keys are derived from it.
    /// `None`: `other` is no key, but one of the few points with which everybody would know.
    #[must_use]
    pub fn agree(&self, other: &PublicKey) -> Option<[u8; 32]> {
        let secret = x25519_dalek::StaticSecret::from(self.secret);
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(other.0));
        shared.was_contributory().then(|| shared.to_bytes())
    }

    pub(crate) fn apply(&self, socket: &zmq::Socket) -> Result<(), zmq::Error> {
        socket.set_curve_publickey(&self.public.0)?;
        socket.set_curve_secretkey(&self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z85_is_the_one_of_libzmq() {
        for _ in 0..50 {
            let pair = KeyPair::generate().unwrap();
            let text = pair.public.to_string();
            assert_eq!(text, zmq::z85_encode(&pair.public.0).unwrap());
            assert_eq!(text.parse(), Ok(pair.public));
            assert_eq!(ffi::public_of(&encode(&pair.secret)), Some(text));
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in ["", "short", &"~".repeat(40), &"#".repeat(40), &"é".repeat(20), &"0".repeat(41)] {
            assert_eq!(text.parse::<PublicKey>(), Err(ParseKeyError), "{text}");
        }
        assert_eq!(PublicKey([255; 32]).to_string().parse(), Ok(PublicKey([255; 32])));
    }

    #[test]
    fn two_pairs_agree_and_a_point_of_small_order_is_refused() {
        let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_eq!(one.agree(&other.public), other.agree(&one.public));
        assert!(one.agree(&other.public).is_some());
        assert_eq!(one.agree(&PublicKey([0; 32])), None);
    }

    #[test]
    fn debug_hides_the_secret() {
        let pair = KeyPair::generate().unwrap();
        let shown = format!("{pair:?}");
        assert!(shown.contains(&pair.public.to_string()));
        assert!(!shown.contains(&encode(&pair.secret)) && !shown.contains("secret"));
    }
}
