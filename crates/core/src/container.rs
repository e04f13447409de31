//! Containers: registered images in which functions run.

use crate::id::ContainerId;
use std::fmt;
use std::str::FromStr;

/// A registered container, as far as starting one needs it. Its kind and location never change: another image is another
/// container, so what is known of one may be kept for ever. The endpoint's own environment (`raw`) is no container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The container.
    pub container: ContainerId,
    /// What kind of image it is.
    pub kind: ContainerKind,
    /// Where the image is: a name in a registry, a file or a directory of the endpoint, at most
    /// [`LOCATION_BYTES`](crate::limits::LOCATION_BYTES).
    pub location: String,
}

/// Kinds of images. Which program starts one is the endpoint's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    /// An image in a registry for Docker.
    Docker,
    /// An image in a registry for podman.
    Podman,
    /// An image for Apptainer: a file, or a URI such as `docker://…`.
    Apptainer,
    /// The same, by its older name.
    Singularity,
    /// An image that Shifter knows.
    Shifter,
    /// A directory or file for Charliecloud.
    Charliecloud,
    /// A directory that bubblewrap makes the root of.
    Bwrap,
    /// Whatever a command of the endpoint's configuration makes of it.
    Custom,
}

/// Why a word is not the kind of a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{given}' is no kind of container; use one of {}",
    ContainerKind::ALL.map(ContainerKind::as_str).join(", ")
)]
pub struct ParseKindError {
    /// What was given instead, cut to 64 characters.
    pub given: String,
}

impl ContainerKind {
    /// By their numbers on the wire, which are those of their declaration: new ones come last, with a wire version.
    pub const ALL: [Self; 8] = [
        Self::Docker,
        Self::Podman,
        Self::Apptainer,
        Self::Singularity,
        Self::Shifter,
        Self::Charliecloud,
        Self::Bwrap,
        Self::Custom,
    ];

    /// The word used in REST, SDK, CLI and store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Apptainer => "apptainer",
            Self::Singularity => "singularity",
            Self::Shifter => "shifter",
            Self::Charliecloud => "charliecloud",
            Self::Bwrap => "bwrap",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ContainerKind {
    type Err = ParseKindError;

    fn from_str(word: &str) -> Result<Self, ParseKindError> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| ParseKindError { given: word.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_words_and_numbers() {
        for (number, kind) in ContainerKind::ALL.into_iter().enumerate() {
            assert_eq!((kind.as_str().parse(), kind as usize), (Ok(kind), number));
        }
        let error = "Docker".parse::<ContainerKind>().unwrap_err().to_string();
        assert!(error.contains("'Docker'") && error.contains("docker, podman") && error.ends_with("custom"));
    }
}
