//! The workers' Python, looked at before anything is started: a clear word now beats a task that fails later.

use crate::config::Config;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest Python that the worker runs on.
pub const OLDEST: (u8, u8) = (3, 8);

/// Why an interpreter cannot run workers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None configured, none found.
    #[error("no Python for the workers: there is no python3 on PATH; name one with --python or BURSA_PYTHON")]
    None,
    /// It does not start, or is no Python.
    #[error("{python} cannot run the workers: {why}; name another Python with --python or BURSA_PYTHON", python = python.display())]
    Broken {
        /// Its path.
        python: PathBuf,
        /// Why.
        why: String,
    },
    /// It is too old.
    #[error(
        "{python} is Python {found}, workers need {oldest_major}.{oldest_minor} or newer; name another with --python or BURSA_PYTHON",
        python = python.display(), oldest_major = OLDEST.0, oldest_minor = OLDEST.1
    )]
    TooOld {
        /// Its path.
        python: PathBuf,
        /// Its version.
        found: String,
    },
}

/// The workers' Python and its `major.minor`.
///
/// # Errors
/// When there is none, it does not start, or it is too old.
pub fn check(config: &Config) -> Result<(PathBuf, String), Error> {
    let python = config.python.clone().ok_or(Error::None)?;
    let found = version(&python).map_err(|why| Error::Broken { python: python.clone(), why })?;
    let numbers =
        found.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match numbers {
        Some(numbers) if numbers >= OLDEST => Ok((python, found)),
        Some(_) => Err(Error::TooOld { python, found }),
        None => Err(Error::Broken { python, why: "it does not answer as a Python does".into() }),
    }
}

fn version(python: &Path) -> Result<String, String> {
    let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new(python)
        .args(["-I", "-S", "-c", ask])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().map_or_else(|| output.status.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::config::Values;

    fn checked(python: &str) -> Result<(PathBuf, String), Error> {
        let mut config = Config::from_values(&Values::default(), Path::new("/h"), "lab").unwrap();
        config.python = Some(python.into());
        check(&config)
    }

    #[test]
    fn a_python_says_its_version_and_others_are_refused_with_their_reason() {
        assert!(checked("python3").unwrap().1.starts_with("3."));
        for (program, why) in
            [("/no/such/python", "No such file"), ("false", "exit status"), ("echo", "as a Python does")]
        {
            let refusal = checked(program).unwrap_err().to_string();
            assert!(refusal.contains(why) && refusal.contains(program), "{refusal}");
        }
    }
}
