//! A login at a provider of identity: kept in `login.json` of the home, renewed before it ends.
//!
//! The Python SDK reads and renews the same file: both hold `login.lock` meanwhile, since many providers end a login
//! whose renewal is asked for twice.

pub(crate) mod browser;
pub(crate) mod device;
pub(crate) mod provider;

use crate::exit::{Coded, NOT_ACCEPTED, UNREACHABLE};
use anyhow::Context;
use provider::{Asked, Tokens};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A token with less than this left is renewed: longer than a request takes.
const AHEAD_S: u64 = 60;
/// Where a provider does not say how long its token lives.
const UNSAID_S: u64 = 300;

/// What a login left. No `Debug`: its tokens are secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The Bursa service it is for.
    pub(crate) url: String,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) token_endpoint: String,
    #[serde(default)]
    pub(crate) revocation_endpoint: Option<String>,
    #[serde(default)]
    pub(crate) resource: Option<String>,
    pub(crate) access_token: String,
    #[serde(default)]
    pub(crate) refresh_token: Option<String>,
    /// Seconds since 1970.
    pub(crate) expires_at: u64,
}

impl Login {
    /// The same login with the tokens that its provider has just given.
    pub(crate) fn with(self, tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token.or(self.refresh_token),
            expires_at: now_s() + tokens.expires_in.unwrap_or(UNSAID_S),
            ..self
        }
    }

    fn left_s(&self) -> u64 {
        self.expires_at.saturating_sub(now_s())
    }
}

/// The login of this home, renewed if it is about to end; `None`: there is none.
pub(crate) fn current(home: &Path) -> anyhow::Result<Option<Login>> {
    let Some(login) = read(home)? else { return Ok(None) };
    if login.left_s() > AHEAD_S {
        return Ok(Some(login));
    }
    let _lock = lock(home)?;
    // Who had the lock before may have renewed it.
    match read(home)? {
        Some(login) if login.left_s() <= AHEAD_S => renewed(home, login).map(Some),
        login => Ok(login),
    }
}

fn renewed(home: &Path, login: Login) -> anyhow::Result<Login> {
    let over = |code: u8, why: &str| {
        let text = format!("the login at {} has ended ({why}); run `bursa login` again", login.issuer);
        Coded { code, text }
    };
    let asked = match &login.refresh_token {
        None => Err(Asked::Refused("it cannot be renewed".to_owned())),
        Some(token) => {
            provider::renew(&login.token_endpoint, &login.client_id, token, login.resource.as_deref())
        }
    };
    match asked {
        Ok(tokens) => {
            let login = login.with(tokens);
            write(home, &login)?;
            Ok(login)
        }
        // It may still be used while it lasts.
        Err(_) if login.left_s() > 0 => Ok(login),
        Err(Asked::Refused(why)) => Err(over(NOT_ACCEPTED, &why).into()),
        Err(Asked::Unreachable(why)) => Err(over(UNREACHABLE, &why).into()),
    }
}

/// The login of this home as it is.
pub(crate) fn read(home: &Path) -> anyhow::Result<Option<Login>> {
    let path = path(home);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let login = serde_json::from_str(&text);
    login.map(Some).with_context(|| format!("{} is no login; run `bursa login` again", path.display()))
}

/// Keeps `login` where only the home's owner reads it.
pub(crate) fn write(home: &Path, login: &Login) -> anyhow::Result<()> {
    let (path, text) = (path(home), serde_json::to_string_pretty(login)?);
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&partial);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Forgets the login of this home.
pub(crate) fn remove(home: &Path) -> anyhow::Result<()> {
    let path = path(home);
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Held while the login is changed.
pub(crate) fn lock(home: &Path) -> anyhow::Result<File> {
    let path = home.join("login.lock");
    let lock = || -> std::io::Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    lock().with_context(|| format!("cannot lock {}", path.display()))
}

fn path(home: &Path) -> PathBuf {
    home.join("login.json")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
