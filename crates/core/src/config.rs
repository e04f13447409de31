//! Configuration values: each key has one name, one environment variable, one default and one sentence.
//!
//! A value comes from a flag, the environment, the file or the default, in this order. Finding it is the command's
//! business; this module gives it a type and says which key is wrong. Durations are milliseconds (`_ms`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `section.name`, as in the file.
    pub name: &'static str,
    /// The environment variable that sets it.
    pub env: &'static str,
    /// Its value when nothing sets it.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag,
    /// The environment.
    Env,
    /// The file, at this line.
    File {
        /// The file's path.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// Nothing set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Env => f.write_str("environment"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value that its key cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = '{value}' (from {from}) is not valid: {why}; {about}")]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// The value given.
    pub value: String,
    /// Where it came from.
    pub from: Source,
    /// What is wrong with it.
    pub why: String,
    /// What the key does.
    pub about: &'static str,
}

/// The values that something set, by key name.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<&'static str, (String, Source)>);

impl Values {
    /// Sets `key`, unless a stronger source has set it: call in the order flag, environment, file.
    pub fn offer(&mut self, key: &Key, value: impl Into<String>, source: Source) {
        self.0.entry(key.name).or_insert_with(|| (value.into(), source));
    }

    /// The text of `key` and where it came from.
    #[must_use]
    pub fn get(&self, key: &Key) -> (&str, Source) {
        match self.0.get(key.name) {
            Some((value, source)) => (value, source.clone()),
            None => (key.default, Source::Default),
        }
    }

    /// The value of `key`, as what it should be.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value and source.
    pub fn parse<T: FromStr>(&self, key: &Key) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        let (value, from) = self.get(key);
        value.parse().map_err(|error: T::Err| ConfigError {
            key: key.name,
            value: value.to_owned(),
            from,
            why: error.to_string(),
            about: key.about,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Key = Key { name: "service.port", env: "BURSA_PORT", default: "5000", about: "the port" };

    #[test]
    fn the_first_offer_wins_and_errors_name_everything() {
        let mut values = Values::default();
        assert_eq!(values.parse::<u16>(&PORT), Ok(5000));
        values.offer(&PORT, "many", Source::File { path: "config.toml".into(), line: 3 });
        values.offer(&PORT, "7", Source::Default);
        let error = values.parse::<u16>(&PORT).unwrap_err().to_string();
        assert!(error.starts_with("service.port = 'many' (from config.toml:3) is not valid: "), "{error}");
    }
}
