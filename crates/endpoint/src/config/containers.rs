//! The section `containers`: what starts the containers that calls name.

use bursa_core::config::{ConfigError, Key, Values};
use bursa_core::limits;
use std::path::PathBuf;

macro_rules! key {
    ($const:ident, $name:literal, $env:literal, $default:literal, $about:literal) => {
        const $const: Key =
            Key { name: concat!("containers.", $name), env: $env, default: $default, about: $about };
    };
}

key!(
    RUNTIME,
    "runtime",
    "BURSA_CONTAINERS_RUNTIME",
    "auto",
    "what starts containers, where it can start their kind: podman, docker, apptainer, singularity, shifter, \
     charliecloud, bwrap, custom; auto: the first that is installed; none: no containers"
);
key!(
    PYTHON,
    "python",
    "BURSA_CONTAINERS_PYTHON",
    "python3",
    "the Python in containers: a name that is looked up there, or a path there"
);
key!(
    IMAGES,
    "images",
    "BURSA_CONTAINERS_IMAGES",
    "",
    "directories of the host with images: callers may name those in there by their paths, and no other path (a list; \
     with ':' between them in the environment)"
);
key!(
    START_TIMEOUT,
    "start_timeout_ms",
    "BURSA_CONTAINERS_START_TIMEOUT_MS",
    "600000",
    "a container that is not up after this, its image pulled, counts as failed"
);
key!(GPUS, "gpus", "BURSA_CONTAINERS_GPUS", "none", "the host's GPUs in containers: none, nvidia, or amd");
key!(
    CUSTOM,
    "custom",
    "BURSA_CONTAINERS_CUSTOM",
    "",
    "the program that starts containers of kind custom, and its arguments, with blanks between them; {image}, \
     {package}, {control}, {name} and {command} in them are filled in"
);

/// Every key of the section `containers`.
pub const KEYS: &[Key] = &[RUNTIME, PYTHON, IMAGES, START_TIMEOUT, GPUS, CUSTOM];

/// The word of `custom` that becomes the command in the container.
pub(crate) const COMMAND: &str = "{command}";
/// The other placeholders of `custom`.
pub(crate) const PLACEHOLDERS: [&str; 4] = ["{image}", "{package}", "{control}", "{name}"];

/// A program that starts containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// podman.
    Podman,
    /// docker.
    Docker,
    /// apptainer.
    Apptainer,
    /// singularity: apptainer by its older name.
    Singularity,
    /// shifter.
    Shifter,
    /// ch-run.
    Charliecloud,
    /// bwrap, with the sandbox's own protections.
    Bwrap,
    /// The command `containers.custom`.
    Custom,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Podman,
        Self::Docker,
        Self::Apptainer,
        Self::Singularity,
        Self::Shifter,
        Self::Charliecloud,
        Self::Bwrap,
        Self::Custom,
    ];

    /// Its word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Apptainer => "apptainer",
            Self::Singularity => "singularity",
            Self::Shifter => "shifter",
            Self::Charliecloud => "charliecloud",
            Self::Bwrap => "bwrap",
            Self::Custom => "custom",
        }
    }
}

/// What starts containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The first that is installed.
    Auto,
    /// This one, for the kinds that it can start.
    Only(Program),
    /// Nothing.
    None,
}

/// The host's GPUs in containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpus {
    /// None of them.
    None,
    /// NVIDIA's.
    Nvidia,
    /// AMD's.
    Amd,
}

impl Gpus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Nvidia => "nvidia",
            Self::Amd => "amd",
        }
    }
}

/// The values, with types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containers {
    /// What starts them.
    pub runtime: Choice,
    /// The Python in them.
    pub python: String,
    /// Where callers may take images from.
    pub images: Vec<PathBuf>,
    /// A start that takes longer has failed.
    pub start_timeout_ms: u64,
    /// GPUs.
    pub gpus: Gpus,
    /// The words of the custom command; empty: there is none.
    pub custom: Vec<String>,
}

impl Containers {
    pub(super) fn from_values(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            runtime: runtime(values)?,
            python: python(values)?,
            images: images(values)?,
            start_timeout_ms: values.whole(&START_TIMEOUT, 1..=limits::CONTAINER_START_MS)?,
            gpus: gpus(values)?,
            custom: custom(values)?,
        })
    }

    pub(super) fn to_env(&self) -> Vec<(&'static str, String)> {
        let runtime = match self.runtime {
            Choice::Auto => "auto",
            Choice::None => "none",
            Choice::Only(program) => program.as_str(),
        };
        vec![
            (RUNTIME.env, runtime.into()),
            (PYTHON.env, self.python.clone()),
            (
                IMAGES.env,
                self.images.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":"),
            ),
            (START_TIMEOUT.env, self.start_timeout_ms.to_string()),
            (GPUS.env, self.gpus.as_str().into()),
            (CUSTOM.env, self.custom.join(" ")),
        ]
    }
}

fn runtime(values: &Values) -> Result<Choice, ConfigError> {
    match values.get(&RUNTIME).0 {
        "auto" => Ok(Choice::Auto),
        "none" => Ok(Choice::None),
        word => match Program::ALL.into_iter().find(|program| program.as_str() == word) {
            Some(program) => Ok(Choice::Only(program)),
            None => {
                let words = Program::ALL.map(Program::as_str).join(", ");
                Err(values.wrong(&RUNTIME, format!("expected auto, none, or one of {words}")))
            }
        },
    }
}

fn python(values: &Values) -> Result<String, ConfigError> {
    match values.get(&PYTHON).0 {
        "" => Err(values.wrong(&PYTHON, "expected a name or a path in the container".into())),
        text if text.starts_with('-') => {
            Err(values.wrong(&PYTHON, "a name that begins with '-' would be taken for an option".into()))
        }
        text => Ok(text.to_owned()),
    }
}

fn images(values: &Values) -> Result<Vec<PathBuf>, ConfigError> {
    let paths: Vec<PathBuf> =
        values.get(&IMAGES).0.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(values.wrong(&IMAGES, format!("{} is no absolute path", path.display()))),
        None => Ok(paths),
    }
}

fn gpus(values: &Values) -> Result<Gpus, ConfigError> {
    let given = values.get(&GPUS).0;
    [Gpus::None, Gpus::Nvidia, Gpus::Amd]
        .into_iter()
        .find(|gpus| gpus.as_str() == given)
        .ok_or_else(|| values.wrong(&GPUS, "expected none, nvidia or amd".into()))
}

fn custom(values: &Values) -> Result<Vec<String>, ConfigError> {
    let words: Vec<String> = values.get(&CUSTOM).0.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return Ok(words);
    }
    if words.iter().skip(1).filter(|word| *word == COMMAND).count() != 1 {
        let why = format!("one word after the program must be {COMMAND}, what is to run in the container");
        return Err(values.wrong(&CUSTOM, why));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::config::Source;

    #[test]
    fn bad_values_are_told_with_what_is_expected() {
        for (key, value, why) in [
            (&RUNTIME, "dockr", "expected auto, none, or one of podman, docker"),
            (&PYTHON, "", "expected a name or a path"),
            (&PYTHON, "-c", "taken for an option"),
            (&IMAGES, "img", "no absolute path"),
            (&START_TIMEOUT, "0", "whole number from 1"),
            (&GPUS, "2", "expected none, nvidia or amd"),
            (&CUSTOM, "start {image}", "must be {command}"),
            (&CUSTOM, "{command}", "must be {command}"),
        ] {
            let mut values = Values::default();
            values.offer(key, value, Source::Env);
            let error = Containers::from_values(&values).unwrap_err().to_string();
            assert!(error.starts_with(key.name) && error.contains(why), "{error}");
        }
    }
}
