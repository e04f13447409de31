//! Why a manager or executor could not run, and with which exit code it leaves then.

use crate::{exit, home, package};
use std::io;

/// Why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint's directory.
    #[error(transparent)]
    Home(#[from] home::Error),
    /// The workers' package.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// A link.
    #[error(transparent)]
    Fabric(#[from] bursa_fabric::Error),
    /// The sandbox that there must be.
    #[error("{0}")]
    Sandbox(String),
    /// Its own network.
    #[error("{0}")]
    Interface(String),
    /// The system.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// The exit code for it ([`crate::exit`]).
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Home(home::Error::Locked { .. } | home::Error::TakenOver { .. }) => exit::LOCKED,
            Self::Home(
                home::Error::Name(_)
                | home::Error::Missing { .. }
                | home::Error::Damaged { .. }
                | home::Error::Key(_),
            )
            | Self::Fabric(bursa_fabric::Error::NoCurve { .. }) => exit::REFUSED,
            _ => exit::FAILED,
        }
    }
}
