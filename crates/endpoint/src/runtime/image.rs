//! What a container's location means to the program that starts it.
//!
//! Callers choose locations. A path of the host is used only below a directory that the endpoint's owner named
//! (`containers.images`): any other would show callers the host. No location can become an option.

use crate::config::Program;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where podman and docker would take an image from the host's files.
const TRANSPORTS: [&str; 10] = [
    "containers-storage",
    "dir",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
    "tar",
];
/// Where apptainer takes images from over the network.
const REMOTE: [&str; 6] = ["docker://", "oras://", "library://", "shub://", "https://", "http://"];

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Image {
    /// As its program knows it.
    Name(String),
    /// A file or directory of the host.
    Path(PathBuf),
}

impl AsRef<OsStr> for Image {
    fn as_ref(&self) -> &OsStr {
        match self {
            Self::Name(name) => name.as_ref(),
            Self::Path(path) => path.as_os_str(),
        }
    }
}

impl Image {
    /// The image at `location`, for a program.
    ///
    /// # Errors
    /// In one sentence, when it is none.
    pub(crate) fn of(program: Program, location: &str) -> Result<Self, String> {
        if location.is_empty() || location.starts_with('-') || location.contains(char::is_control) {
            return Err(format!("'{}' is no place of an image", location.escape_debug()));
        }
        if location.starts_with('/') && program != Program::Custom {
            return match program {
                Program::Podman | Program::Docker | Program::Shifter => {
                    Err(format!("{location} is a path, and {} takes images by their names", program.as_str()))
                }
                _ => Ok(Self::Path(location.into())),
            };
        }
        let name = || Self::Name(location.to_owned());
        match program {
            Program::Podman | Program::Docker => by_name(location),
            Program::Apptainer | Program::Singularity
                if REMOTE.iter().any(|start| location.starts_with(start)) =>
            {
                Ok(name())
            }
            Program::Apptainer | Program::Singularity
                if !location.contains("://") && is_docker_name(location) =>
            {
                Ok(Self::Name(format!("docker://{location}")))
            }
            Program::Shifter if !location.starts_with("custom:") => Ok(name()),
            Program::Charliecloud if !location.contains("..") => Ok(name()),
            Program::Custom => Ok(name()),
            Program::Apptainer
            | Program::Singularity
            | Program::Shifter
            | Program::Charliecloud
            | Program::Bwrap => Err(format!(
                "{location} is no image for {}; name it by an absolute path, or by its name in a registry",
                program.as_str()
            )),
        }
    }
}

fn by_name(location: &str) -> Result<Image, String> {
    let name = location.strip_prefix("docker://").unwrap_or(location);
    match name.split_once(':') {
        Some((start, _)) if TRANSPORTS.contains(&start) => Err(format!(
            "{location} is taken from files of the host; name an image by its name in a registry"
        )),
        _ => Ok(Image::Name(name.to_owned())),
    }
}

/// Whether it looks as a name in a registry and not as another program's address.
fn is_docker_name(location: &str) -> bool {
    !location.split_once(':').is_some_and(|(start, _)| TRANSPORTS.contains(&start))
        && !location.starts_with(['.', '~'])
}

/// The real path of an image, which must be in one of `images`, whatever links lead there.
///
/// # Errors
/// In one sentence, when it is not there or elsewhere.
pub(crate) fn local(path: &Path, images: &[PathBuf]) -> Result<PathBuf, String> {
    let real =
        path.canonicalize().map_err(|error| format!("there is no image {}: {error}", path.display()))?;
    let is_below = |dir: &PathBuf| dir.canonicalize().is_ok_and(|dir| real.starts_with(dir));
    if images.iter().any(is_below) {
        return Ok(real);
    }
    Err(format!(
        "{} is not in a directory from which this endpoint takes images; its owner can name one with containers.images \
         (BURSA_CONTAINERS_IMAGES)",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_name_or_a_path_and_never_more() {
        let name = |text: &str| Ok(Image::Name(text.into()));
        assert_eq!(Image::of(Program::Podman, "docker://python:3.11"), name("python:3.11"));
        assert_eq!(Image::of(Program::Podman, "localhost:5000/a/b:1"), name("localhost:5000/a/b:1"));
        assert_eq!(Image::of(Program::Apptainer, "python:3.11"), name("docker://python:3.11"));
        assert_eq!(Image::of(Program::Apptainer, "oras://r/i"), name("oras://r/i"));
        assert_eq!(Image::of(Program::Charliecloud, "/img"), Ok(Image::Path("/img".into())));
        for (program, bad) in [
            (Program::Podman, "-v=/:/host"),
            (Program::Custom, "--help"),
            (Program::Custom, ""),
            (Program::Custom, "a\nb"),
            (Program::Podman, "docker-archive:/etc/x.tar"),
            (Program::Podman, "dir:/etc"),
            (Program::Docker, "/etc"),
            (Program::Apptainer, "docker-archive:///etc/x"),
            (Program::Apptainer, "oci:/etc"),
            (Program::Apptainer, "./x.sif"),
            (Program::Shifter, "custom:/etc/x"),
            (Program::Charliecloud, "../../etc"),
            (Program::Bwrap, "rootfs"),
        ] {
            assert!(Image::of(program, bad).is_err(), "{program:?} {bad}");
        }
    }

    #[test]
    fn a_path_is_used_only_below_what_the_owner_named() {
        let dir = tempfile::tempdir().unwrap();
        let (images, secret) = (dir.path().join("images"), dir.path().join("secret"));
        std::fs::create_dir_all(images.join("py")).unwrap();
        std::fs::create_dir(&secret).unwrap();
        std::os::unix::fs::symlink(&secret, images.join("link")).unwrap();
        let allowed = [images.clone()];
        assert_eq!(local(&images.join("py"), &allowed).unwrap(), images.join("py").canonicalize().unwrap());
        for bad in [images.join("link"), secret.clone(), images.join("../secret"), "/".into()] {
            assert!(local(&bad, &allowed).unwrap_err().contains("containers.images"), "{bad:?}");
        }
        assert!(local(&images.join("none"), &allowed).unwrap_err().contains("there is no image"));
    }
}
