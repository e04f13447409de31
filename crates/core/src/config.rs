//! Configuration values: each key has one name, one environment variable, one default and one sentence.
//!
//! A value comes from a flag, the environment, the file or the default, in this order. Finding it is the command's
//! business; this module gives it a type and says which key is wrong. Durations are milliseconds (`_ms`).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
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
        self.get(key).0.parse().map_err(|error: T::Err| self.wrong(key, error.to_string()))
    }

    /// The value of `key`, a whole number in `range`.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value, source and range.
    pub fn whole<T: FromStr + PartialOrd + fmt::Display>(
        &self,
        key: &Key,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        let value = self.get(key).0.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.wrong(key, format!("it must be a whole number from {least} to {most}"))
        })
    }

    /// That `key` cannot have the value it has, and why.
    #[must_use]
    pub fn wrong(&self, key: &Key, why: String) -> ConfigError {
        let (value, from) = self.get(key);
        ConfigError { key: key.name, value: value.to_owned(), from, why, about: key.about }
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

    #[test]
    fn a_number_outside_of_its_range_is_told_the_range() {
        for value in ["-1", "0", "9", "99999999999999999999999", "1.5", "many", ""] {
            let mut values = Values::default();
            values.offer(&PORT, value, Source::Env);
            let error = values.whole::<u32>(&PORT, 1..=8).unwrap_err().to_string();
            let said = "is not valid: it must be a whole number from 1 to 8; the port";
            assert_eq!(error, format!("service.port = '{value}' (from environment) {said}"));
        }
        assert_eq!(Values::default().whole::<u16>(&PORT, 1..=u16::MAX), Ok(5000));
    }
}
