//! Where values come from: flag, environment, the endpoint's `endpoint.toml`, `config.toml`, default; and the client's credentials.

use crate::args::Args;
use crate::exit::{CONFIG, Coded};
use crate::login::{self, Login};
use anyhow::Context;
use bursa_core::config::{Key, Source, Values};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The home directory and everything that was set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    home: PathBuf,
    values: Values,
}

/// What the client needs to talk to a service. No `Debug`: the token is a secret.
pub(crate) struct Credentials {
    /// Where it is.
    pub(crate) url: String,
    /// The bearer token.
    pub(crate) token: String,
}

/// Every key there is, section by section.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    bursa_service::config::KEYS
        .iter()
        .chain(bursa_endpoint::config::KEYS)
        .chain(bursa_endpoint::config::SANDBOX_KEYS)
        .chain(bursa_endpoint::config::blocks::KEYS)
        .chain(bursa_endpoint::config::kubernetes::KEYS)
        .chain(bursa_endpoint::config::CONTAINER_KEYS)
        .chain(bursa_endpoint::watchdog::KEYS)
}

impl Settings {
    /// Reads environment and files under the flags given; for a command about `endpoint`, its file first.
    pub(crate) fn load(
        args: &Args,
        flags: &[(&str, Option<String>)],
        endpoint: Option<&str>,
    ) -> anyhow::Result<Self> {
        let home = home(args)?;
        let mut values = Values::default();
        for key in keys() {
            if let Some((_, Some(value))) = flags.iter().find(|(name, _)| *name == key.name) {
                values.offer(key, value, Source::Flag);
            }
            if let Ok(value) = std::env::var(key.env) {
                values.offer(key, value, Source::Env);
            }
        }
        let own = endpoint.and_then(|name| bursa_endpoint::home::settings_file(&home, name));
        for path in own.into_iter().chain([home.join("config.toml")]) {
            match std::fs::read_to_string(&path) {
                Ok(text) => offer_file(&mut values, &path, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        Ok(Self { home, values })
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// `BURSA_URL` and `BURSA_TOKEN`, else the login of this home, else `client.toml`; `None` where none is there.
    pub(crate) fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let (url, token) = (set("BURSA_URL"), set("BURSA_TOKEN"));
        if let (Some(url), Some(token)) = (&url, &token) {
            return Ok(Some(Credentials { url: url.clone(), token: token.clone() }));
        }
        // A login is for one service: its token is shown to no other.
        let elsewhere = |login: &Login| url.as_ref().is_some_and(|url| !same(url, &login.url));
        if token.is_none()
            && login::read(&self.home)?.is_some_and(|login| !elsewhere(&login))
            && let Some(login) = login::current(&self.home)?
        {
            return Ok(Some(Credentials { url: login.url, token: login.access_token }));
        }
        let Some(stored) = self.stored_credentials()? else { return Ok(None) };
        Ok(Some(Credentials { url: url.unwrap_or(stored.url), token: token.unwrap_or(stored.token) }))
    }

    /// Where the service is that this home knows.
    pub(crate) fn service_url(&self) -> anyhow::Result<Option<String>> {
        if let Some(url) = set("BURSA_URL") {
            return Ok(Some(url));
        }
        if let Some(login) = login::read(&self.home)? {
            return Ok(Some(login.url));
        }
        Ok(self.stored_credentials()?.map(|stored| stored.url))
    }

    /// What the service of this home left in `client.toml`.
    pub(crate) fn stored_credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let path = self.home.join("client.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let table: toml::Table = text.parse().map_err(|error| broken(&path, &text, &error))?;
        let field = |name: &str| table.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        match (field("url"), field("token")) {
            (Some(url), Some(token)) => Ok(Some(Credentials { url, token })),
            _ => anyhow::bail!("{} has no `url` and `token`; `bursa up` writes it anew", path.display()),
        }
    }
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// The home directory of this command.
fn home(args: &Args) -> anyhow::Result<PathBuf> {
    let home = match &args.home {
        Some(home) => home.clone(),
        None => {
            let home =
                std::env::var_os("HOME").context("HOME is not set; say --home DIR or set BURSA_HOME")?;
            PathBuf::from(home).join(".bursa")
        }
    };
    std::path::absolute(&home).with_context(|| format!("{} is not a usable path", home.display()))
}

fn offer_file(values: &mut Values, path: &Path, text: &str) -> anyhow::Result<()> {
    let document = DeTable::parse(text).map_err(|error| broken(path, text, &error))?;
    for (section, table) in document.get_ref() {
        let line = line_of(text, section.span().start);
        let DeValue::Table(table) = table.get_ref() else {
            let name = section.get_ref();
            let key = keys().find(|key| key.name == name).ok_or_else(|| misplaced(path, line, name))?;
            if path.ends_with("endpoint.toml") {
                return Err(for_service(path, line, key));
            }
            let source = Source::File { path: path.display().to_string(), line };
            let tables = tables(path, text, name, &source)?;
            values.offer(key, tables, source);
            continue;
        };
        for (name, value) in table {
            let line = line_of(text, name.span().start);
            let name = format!("{}.{}", section.get_ref(), name.get_ref());
            let key = keys().find(|key| key.name == name).ok_or_else(|| misplaced(path, line, &name))?;
            if key.name.starts_with("service.") && path.ends_with("endpoint.toml") {
                return Err(for_service(path, line, key));
            }
            let source = Source::File { path: path.display().to_string(), line };
            values.offer(key, plain(value.get_ref(), &name, &source)?, source);
        }
    }
    Ok(())
}

/// The text of a TOML value that is a string, number or truth value.
fn plain(value: &DeValue<'_>, name: &str, source: &Source) -> anyhow::Result<String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Array(items) => list(items, name, source),
        _ => {
            let text = format!(
                "{source}: {name} must be a text, a number, or true/false, not a list, table or time"
            );
            Err(Coded { code: CONFIG, text }.into())
        }
    }
}

/// The tables `[[name]]`, as they are written in the environment: a JSON list.
fn tables(path: &Path, text: &str, name: &str, source: &Source) -> anyhow::Result<String> {
    // What one reading of the file took may still be too much for the other, such as a number of 20 digits.
    let document: toml::Table = text.parse().map_err(|error| broken(path, text, &error))?;
    match document.get(name) {
        Some(toml::Value::Array(tables)) => Ok(serde_json::to_string(tables)?),
        _ => {
            let text = format!("{source}: {name} must be tables, each under a line [[{name}]]");
            Err(Coded { code: CONFIG, text }.into())
        }
    }
}

/// A list of texts, as it is written in the environment.
fn list(items: &[toml::Spanned<DeValue<'_>>], name: &str, source: &Source) -> anyhow::Result<String> {
    let texts: Option<Vec<&str>> =
        items.iter().map(|item| item.get_ref().as_str().filter(|text| !text.contains(':'))).collect();
    let wrong = || {
        let text = format!("{source}: {name} must be a list of texts without ':'");
        Coded { code: CONFIG, text }
    };
    Ok(texts.ok_or_else(wrong)?.join(":"))
}

fn for_service(path: &Path, line: usize, key: &Key) -> anyhow::Error {
    let text = format!("{}:{line}: {} is the service's: set it in config.toml", path.display(), key.name);
    Coded { code: CONFIG, text }.into()
}

fn misplaced(path: &Path, line: usize, name: &str) -> anyhow::Error {
    let known: Vec<_> = keys().map(|key| key.name).collect();
    let text = format!(
        "{}:{line}: there is no key '{name}'; known keys are {} (see `bursa config show`)",
        path.display(),
        known.join(", ")
    );
    Coded { code: CONFIG, text }.into()
}

fn broken(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let text = format!("{}:{line}: not valid TOML: {}", path.display(), error.message());
    Coded { code: CONFIG, text }.into()
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
#[path = "settings_fuzzed.rs"]
mod fuzzed;
