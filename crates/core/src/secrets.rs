//! Secrets of a call: what its worker's environment has while it runs, and nobody is shown.

use std::fmt;
use std::sync::Arc;

/// `NAME=VALUE` and a zero byte for each, as an environment has them; none without any. `Debug` shows the size only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets(Arc<[u8]>);

impl Secrets {
    /// These names and values; neither has a zero byte.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut block = Vec::new();
        for (name, value) in pairs {
            block.extend_from_slice(name.as_bytes());
            block.push(b'=');
            block.extend_from_slice(value);
            block.push(0);
        }
        Self::of_block(&block)
    }

    /// The same, as [`Secrets::block`] gives them.
    #[must_use]
    pub fn of_block(block: &[u8]) -> Self {
        Self(block.into())
    }

    /// All of them, as a worker is given them.
    #[must_use]
    pub fn block(&self) -> &[u8] {
        &self.0
    }

    /// Each value.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        let entries = self.0.split(|byte| *byte == 0);
        entries.filter_map(|entry| Some(&entry[entry.iter().position(|byte| *byte == b'=')? + 1..]))
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_names_and_values_and_shows_neither() {
        let secrets = Secrets::of([("TOKEN", b"a=b".as_slice()), ("EMPTY", b""), ("KEY", b"line\nline")]);
        assert_eq!(secrets.block(), b"TOKEN=a=b\0EMPTY=\0KEY=line\nline\0");
        assert_eq!(secrets.values().collect::<Vec<_>>(), [b"a=b".as_slice(), b"", b"line\nline"]);
        assert_eq!(Secrets::of_block(secrets.block()), secrets);
        assert_eq!(format!("{secrets:?}"), "Secrets(31 bytes)");
        assert!(Secrets::of([]).is_empty() && Secrets::of([]).values().next().is_none());
    }
}
