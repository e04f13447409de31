//! An endpoint's directory: its files, who may use it now, and its generation (F4–F6, F8).
//!
//! Owns names and contents of the files of `docs/layout-of-home.md` under `endpoints/NAME/`. Everything that others
//! read while it changes is written by rename.

mod lease;
mod lock;
mod write;

pub use lease::Owner;
pub use lock::Lock;
pub(crate) use lock::try_lock;

use crate::proc::Identity;
use crate::provider::batch::Record;
use bursa_core::id::{BlockId, EndpointId, ExecutorId, UserId};
use bursa_fabric::{KeyFileError, KeyPair, PublicKey};
use lock::Claim;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Longest name of an endpoint.
const NAME_BYTES: usize = 64;

/// Why an endpoint's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that cannot be a directory's.
    #[error(
        "'{0}' cannot be an endpoint's name: use 1 to {NAME_BYTES} letters, digits, '-', '_' and '.', not beginning with '.'"
    )]
    Name(String),
    /// No such endpoint here.
    #[error("there is no endpoint '{name}' in {home}: run `bursa endpoint new {name}` first, or give another --home", home = .home.display())]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        home: PathBuf,
    },
    /// It exists.
    #[error("the endpoint '{name}' exists already in {home}: choose another name", home = .home.display())]
    Exists {
        /// Its name.
        name: String,
        /// Where.
        home: PathBuf,
    },
    /// Another process uses it.
    #[error("the endpoint '{name}' is already run by {}: stop it there with `bursa endpoint stop {name}`", named(.owner.as_deref()))]
    Locked {
        /// Its name.
        name: String,
        /// Who has it, if it has written that.
        owner: Option<Box<Owner>>,
    },
    /// Another process uses what was ours: it took this one for dead.
    #[error(
        "the endpoint '{name}' was taken over by {}, which saw no sign of life of this process for too long (was it stopped, or \
         the file system out of reach?): this one ends, that one runs the endpoint", named(.owner.as_deref())
    )]
    TakenOver {
        /// Its name.
        name: String,
        /// Who has it, if that can be read.
        owner: Option<Box<Owner>>,
    },
    /// A file says nonsense.
    #[error("the file {path} is damaged: {why}; restore it, or register the endpoint anew", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system says no.
    #[error("cannot {what} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A key file is not usable.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A key could not be made.
    #[error(transparent)]
    Fabric(#[from] bursa_fabric::Error),
}

fn named(owner: Option<&Owner>) -> String {
    owner.map_or_else(|| "another process".into(), Owner::to_string)
}

impl Error {
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}

/// What the service answered when the endpoint was registered: `endpoint.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its name.
    pub name: String,
    /// The service's address for managers, as `host:port`.
    pub zmq: String,
    /// The service's key.
    pub service_key: PublicKey,
    /// Whose it is; `None`: an older service did not say.
    #[serde(default)]
    pub owner: Option<UserId>,
}

/// Where a manager listens for its executors: `manager.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerAddress {
    /// `host:port`.
    pub address: String,
    /// The manager's key.
    pub public_key: PublicKey,
    /// The manager's generation.
    pub generation: u64,
}

/// What the executors that started last found of the sandbox: `sandbox.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandboxed {
    /// Whether its workers run in one.
    pub ok: bool,
    /// In words; if there is none, why.
    pub found: String,
    /// The first host that found it so.
    pub host: String,
}

/// An endpoint's directory.
#[derive(Debug, Clone)]
pub struct EndpointDir {
    home: PathBuf,
    name: String,
    dir: PathBuf,
}

/// Makes the directory of a new endpoint and its key. It can be used once [`EndpointDir::register`] was called.
/// An endpoint that was made and never registered is given again, with the same key.
///
/// # Errors
/// For a bad name, an endpoint that exists, and a directory that cannot be written.
pub fn create(home: &Path, name: &str) -> Result<EndpointDir, Error> {
    check_name(name)?;
    let endpoint = EndpointDir::at(home, name);
    if endpoint.file("endpoint.json").exists() {
        return Err(Error::Exists { name: name.to_owned(), home: home.to_owned() });
    }
    for dir in [home, &home.join("endpoints"), &endpoint.dir, &endpoint.file("executors"), &home.join("logs")]
    {
        write::private_dir(dir)?;
    }
    let key = endpoint.file("curve.key");
    if !key.exists() {
        KeyPair::generate()?.save(&key)?;
    }
    Ok(endpoint)
}

/// The endpoint `name`, if it is registered.
///
/// # Errors
/// When there is none.
pub fn load(home: &Path, name: &str) -> Result<EndpointDir, Error> {
    check_name(name)?;
    let endpoint = EndpointDir::at(home, name);
    if !endpoint.file("endpoint.json").exists() {
        return Err(Error::Missing { name: name.to_owned(), home: home.to_owned() });
    }
    for dir in [endpoint.file("executors"), home.join("logs")] {
        write::private_dir(&dir)?;
    }
    Ok(endpoint)
}

/// The names of all registered endpoints, sorted.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(home: &Path) -> Result<Vec<String>, Error> {
    let dir = home.join("endpoints");
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", &dir))?,
    };
    let mut names: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().join("endpoint.json").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Where the settings of endpoint `name` are or would be; `None` if no endpoint can have that name.
#[must_use]
pub fn settings_file(home: &Path, name: &str) -> Option<PathBuf> {
    check_name(name).ok()?;
    Some(EndpointDir::at(home, name).settings_file())
}

fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES || name.starts_with('.') || !name.chars().all(allowed) {
        return Err(Error::Name(name.chars().take(NAME_BYTES).collect()));
    }
    Ok(())
}

impl EndpointDir {
    fn at(home: &Path, name: &str) -> Self {
        Self { home: home.to_owned(), name: name.to_owned(), dir: home.join("endpoints").join(name) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Its settings, which need not be there.
    #[must_use]
    pub fn settings_file(&self) -> PathBuf {
        self.file("endpoint.toml")
    }

    /// Writes its first settings; `false` if there are some already, which stay.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn first_settings(&self, text: &str) -> Result<bool, Error> {
        let path = self.settings_file();
        if path.exists() {
            return Ok(false);
        }
        write::file(&path, text.as_bytes(), 0o600).map(|()| true)
    }

    /// The endpoint's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The endpoint's key pair.
    ///
    /// # Errors
    /// When the file is missing, damaged or open to others.
    pub fn keys(&self) -> Result<KeyPair, Error> {
        Ok(KeyPair::load(&self.file("curve.key"))?)
    }

    /// Makes a new key pair in the place of the one there is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn replace_keys(&self) -> Result<(), Error> {
        let (fresh, path) = (self.file("curve.key.new"), self.file("curve.key"));
        if fresh.exists() {
            fs::remove_file(&fresh).map_err(Error::io("remove", &fresh))?;
        }
        KeyPair::generate()?.save(&fresh)?;
        fs::rename(&fresh, &path).map_err(Error::io("write", &path))
    }

    /// Stores what the service answered; also when its address changed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn register(&self, registration: &Registration) -> Result<(), Error> {
        write::json(&self.file("endpoint.json"), registration)
    }

    /// What the service answered.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn registration(&self) -> Result<Registration, Error> {
        let missing = || Error::Missing { name: self.name.clone(), home: self.home.clone() };
        write::read_json(&self.file("endpoint.json"))?.ok_or_else(missing)
    }

    /// Takes the endpoint for this process, until the lock is dropped or the process ends (F6).
    ///
    /// # Errors
    /// [`Error::Locked`] naming who has it, or may have it: one of another node may be gone.
    pub fn lock(&self) -> Result<Lock, Error> {
        Claim::new(&self.dir, &self.name, Duration::MAX)?.now()
    }

    /// The same, for long: the lock must be kept by [`Lock::keep`]. Waits up to `patience` to see whether one of
    /// another node still lives; `on_wait` is told so.
    ///
    /// # Errors
    /// [`Error::Locked`] naming who has it.
    pub async fn acquire(
        &self,
        patience: Duration,
        on_wait: impl FnOnce(Option<&Owner>, Duration),
    ) -> Result<Lock, Error> {
        Claim::new(&self.dir, &self.name, patience)?.wait(on_wait).await
    }

    /// Who has it, if anybody has. One of another node may be gone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn owner(&self) -> Result<Option<Owner>, Error> {
        lock::owner(&self.dir)
    }

    /// Removes the directory: the endpoint is no longer known here.
    ///
    /// # Errors
    /// [`Error::Locked`] while it runs; when files cannot be removed.
    pub fn remove(self) -> Result<(), Error> {
        let lock = self.lock()?;
        fs::remove_dir_all(&self.dir).map_err(Error::io("remove", &self.dir))?;
        drop(lock);
        Ok(())
    }

    /// The generation on disk; 0 for none yet.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn generation(&self) -> Result<u64, Error> {
        let path = self.file("generation");
        let Some(text) = write::read(&path)? else { return Ok(0) };
        let damaged = |_| Error::Damaged { path, why: "it is not a number".into() };
        String::from_utf8_lossy(&text).trim().parse().map_err(damaged)
    }

    /// Raises the generation above the one on disk and above `seen`; on disk when this returns (F4).
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn raise_generation(&self, _held: &Lock, seen: u64) -> Result<u64, Error> {
        let next = self.generation()?.max(seen).saturating_add(1);
        write::file(&self.file("generation"), format!("{next}\n").as_bytes(), 0o600)?;
        Ok(next)
    }

    /// Executors that may hold attempts (F8). What cannot be read counts as none: a lost hint costs time only.
    #[must_use]
    pub fn hints(&self) -> Vec<ExecutorId> {
        write::read_json(&self.file("hints.json")).ok().flatten().unwrap_or_default()
    }

    /// Stores the hints; on disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_hints(&self, executors: &[ExecutorId]) -> Result<(), Error> {
        write::json(&self.file("hints.json"), &executors)
    }

    /// Where the manager listens, if one ever did.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn manager(&self) -> Result<Option<ManagerAddress>, Error> {
        write::read_json(&self.file("manager.json"))
    }

    /// Tells executors where the manager listens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_manager(&self, address: &ManagerAddress) -> Result<(), Error> {
        write::json(&self.file("manager.json"), address)
    }

    /// Where an executor's key pair is.
    #[must_use]
    pub fn executor_key(&self, executor: ExecutorId) -> PathBuf {
        self.dir.join("executors").join(format!("{executor}.key"))
    }

    /// What these executors must be handed where they cannot reach this directory: file names and contents.
    ///
    /// # Errors
    /// When one of the files is missing, or is no text.
    pub(crate) fn handed(&self, executors: &[ExecutorId]) -> Result<Vec<(String, String)>, Error> {
        let common = ["endpoint.json", "manager.json"].map(|name| (name.to_owned(), self.file(name)));
        let keys = executors.iter().map(|id| (format!("{id}.key"), self.executor_key(*id)));
        let text = |(name, path): (String, PathBuf)| {
            fs::read_to_string(&path).map(|text| (name, text)).map_err(Error::io("read", &path))
        };
        common.into_iter().chain(keys).map(text).collect()
    }

    fn executor_json(&self, executor: ExecutorId) -> PathBuf {
        self.dir.join("executors").join(format!("{executor}.json"))
    }

    /// Every executor that has a key or a process here.
    #[must_use]
    pub fn executors(&self) -> BTreeSet<ExecutorId> {
        let entries = fs::read_dir(self.dir.join("executors")).into_iter().flatten().flatten();
        let id = |name: &str| name.strip_suffix(".key").or(name.strip_suffix(".json"))?.parse().ok();
        entries.filter_map(|entry| id(entry.file_name().to_str()?)).collect()
    }

    /// Which process of this node an executor is, if that is known.
    #[must_use]
    pub(crate) fn executor_process(&self, executor: ExecutorId) -> Option<Identity> {
        write::read_json(&self.executor_json(executor)).ok().flatten()
    }

    /// Says that this process is the executor. One that nobody named counts as gone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn name_executor(&self, executor: ExecutorId, pid: u32) -> Result<(), Error> {
        let process = i32::try_from(pid).ok().and_then(Identity::of);
        process.map_or(Ok(()), |process| write::json(&self.executor_json(executor), &process))
    }

    /// Forgets an executor that is gone: its key opens nothing any more.
    pub(crate) fn remove_executor(&self, executor: ExecutorId) {
        // A file that stays is found and removed at the next start.
        let _ = fs::remove_file(self.executor_key(executor));
        self.remove_executor_process(executor);
    }

    /// The process of an executor ends.
    pub(crate) fn remove_executor_process(&self, executor: ExecutorId) {
        let _ = fs::remove_file(self.executor_json(executor));
    }

    /// What the executors that started last found of the sandbox.
    #[must_use]
    pub fn sandboxed(&self) -> Option<Sandboxed> {
        write::read_json(&self.file("sandbox.json")).ok().flatten()
    }

    /// Writes down what an executor found, if the one before found something else.
    pub(crate) fn save_sandboxed(&self, found: &Sandboxed) -> Result<(), Error> {
        match self.sandboxed() {
            Some(before) if before.found == found.found => Ok(()),
            _ => write::json(&self.file("sandbox.json"), found),
        }
    }

    fn block_json(&self, block: BlockId) -> PathBuf {
        self.dir.join("blocks").join(format!("{block}.json"))
    }

    /// The blocks that were asked of a scheduler. A record that cannot be read is as good as none.
    #[must_use]
    pub(crate) fn blocks(&self) -> BTreeMap<BlockId, Record> {
        let entries = fs::read_dir(self.dir.join("blocks")).into_iter().flatten().flatten();
        let id = |name: &str| name.strip_suffix(".json")?.parse().ok();
        let ids = entries.filter_map(|entry| id(entry.file_name().to_str()?));
        ids.filter_map(|id| Some((id, write::read_json(&self.block_json(id)).ok()??))).collect()
    }

    /// Writes a block down; on disk when this returns.
    pub(crate) fn save_block(&self, block: BlockId, record: &Record) -> Result<(), Error> {
        write::private_dir(&self.dir.join("blocks"))?;
        write::json(&self.block_json(block), record)
    }

    /// When a block's record was written last.
    pub(crate) fn block_written(&self, block: BlockId) -> Option<SystemTime> {
        fs::metadata(self.block_json(block)).and_then(|meta| meta.modified()).ok()
    }

    /// Forgets a block that is over, and its log if it said nothing.
    pub(crate) fn remove_block(&self, block: BlockId) {
        // A record that stays is found and looked into at the next start.
        let _ = fs::remove_file(self.block_json(block));
        let log = self.block_log(block);
        if fs::metadata(&log).is_ok_and(|log| log.len() == 0) {
            let _ = fs::remove_file(log);
        }
    }

    /// Where the job of a block writes.
    #[must_use]
    pub fn block_log(&self, block: BlockId) -> PathBuf {
        self.home.join("logs").join(format!("{}.{block}.block.log", self.name))
    }

    /// Where an executor's workers have their directories.
    #[must_use]
    pub fn work_dir(&self, executor: ExecutorId) -> PathBuf {
        self.dir.join("work").join(executor.to_string())
    }

    /// Where an executor writes its log.
    #[must_use]
    pub fn executor_log(&self, executor: ExecutorId) -> PathBuf {
        self.home.join("logs").join(format!("{}.{executor}.executor.log", self.name))
    }
}
