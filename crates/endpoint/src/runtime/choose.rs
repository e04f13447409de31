//! Which program starts containers of a kind.

use super::Found;
use crate::config::{Choice, Containers, Program};
use bursa_core::container::ContainerKind;
use std::path::PathBuf;

/// Programs that start containers of a kind, the best first. Those without a daemon come before docker.
const fn able(kind: ContainerKind) -> &'static [Program] {
    use Program::{Apptainer, Bwrap, Charliecloud, Custom, Docker, Podman, Shifter, Singularity};
    match kind {
        ContainerKind::Docker => &[Podman, Docker, Apptainer, Singularity, Shifter, Charliecloud],
        ContainerKind::Podman => &[Podman, Docker],
        ContainerKind::Apptainer | ContainerKind::Singularity => &[Apptainer, Singularity],
        ContainerKind::Shifter => &[Shifter],
        ContainerKind::Charliecloud => &[Charliecloud, Bwrap],
        ContainerKind::Bwrap => &[Bwrap],
        ContainerKind::Custom => &[Custom],
    }
}

/// Whether functions in its containers cannot reach the executor. The others share its user and its processes.
const fn isolates(program: Program) -> bool {
    !matches!(program, Program::Shifter | Program::Charliecloud)
}

impl Found {
    /// The program for this kind, and where it is.
    ///
    /// # Errors
    /// In one sentence, with what was looked for.
    pub(crate) fn choose(
        &self,
        kind: ContainerKind,
        containers: &Containers,
        isolate: bool,
    ) -> Result<(Program, PathBuf), String> {
        let able = able(kind);
        let wanted: Vec<Program> = match containers.runtime {
            Choice::None => {
                return Err("this endpoint starts no containers: containers.runtime is none".into());
            }
            Choice::Only(only) if able.contains(&only) => vec![only],
            Choice::Only(_) | Choice::Auto => {
                able.iter().copied().filter(|program| !isolate || isolates(*program)).collect()
            }
        };
        if wanted.is_empty() {
            return Err(format!(
                "{kind} does not isolate functions from this endpoint; its owner can allow that with \
                 containers.runtime = \"{kind}\" (BURSA_CONTAINERS_RUNTIME)"
            ));
        }
        if let Some((program, path)) =
            wanted.iter().find_map(|program| Some((*program, self.path(*program)?)))
        {
            return Ok((program, path.to_owned()));
        }
        if kind == ContainerKind::Custom {
            return Err(
                "this endpoint has no command for containers of kind custom: containers.custom is empty, or \
                        names a program that is not there"
                    .into(),
            );
        }
        let names: Vec<_> = wanted.iter().filter_map(|program| super::found::file(*program)).collect();
        Err(format!(
            "this endpoint cannot start containers of kind {kind}: {} is not installed (looked on PATH); install it, or \
             call the function on another endpoint",
            names.join(" or ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CONTAINER_KEYS, Config};
    use bursa_core::config::{Source, Values};
    use std::path::Path;

    fn containers(runtime: &str) -> Containers {
        let mut values = Values::default();
        values.offer(&CONTAINER_KEYS[0], runtime, Source::Env);
        Config::from_values(&values, Path::new("/h"), "lab").unwrap().containers
    }

    #[test]
    fn the_first_that_is_installed_is_taken_and_what_is_configured_where_it_can() {
        let found = Found::of([(Program::Docker, "/d"), (Program::Podman, "/p"), (Program::Bwrap, "/b")]);
        let choose = |kind, runtime| found.choose(kind, &containers(runtime), true);
        assert_eq!(choose(ContainerKind::Docker, "auto").unwrap().0, Program::Podman);
        assert_eq!(choose(ContainerKind::Docker, "docker").unwrap(), (Program::Docker, "/d".into()));
        assert_eq!(choose(ContainerKind::Bwrap, "docker").unwrap().0, Program::Bwrap);
    }

    #[test]
    fn what_isolates_nothing_is_taken_where_nothing_is_to_be_isolated_or_the_owner_says_so() {
        let found =
            Found::of([(Program::Charliecloud, "/c"), (Program::Bwrap, "/b"), (Program::Shifter, "/s")]);
        let choose =
            |kind, runtime, isolate| found.choose(kind, &containers(runtime), isolate).map(|it| it.0);
        assert_eq!(choose(ContainerKind::Charliecloud, "auto", true), Ok(Program::Bwrap));
        assert_eq!(choose(ContainerKind::Charliecloud, "auto", false), Ok(Program::Charliecloud));
        assert_eq!(choose(ContainerKind::Charliecloud, "charliecloud", true), Ok(Program::Charliecloud));
        assert_eq!(choose(ContainerKind::Shifter, "shifter", true), Ok(Program::Shifter));
        let why = choose(ContainerKind::Shifter, "auto", true).unwrap_err();
        assert!(why.contains("containers.runtime = \"shifter\""), "{why}");
    }

    #[test]
    fn what_was_looked_for_is_told() {
        let found = Found::of([(Program::Podman, "/p")]);
        let refused = |kind, runtime| found.choose(kind, &containers(runtime), false).unwrap_err();
        assert!(refused(ContainerKind::Podman, "docker").contains("podman: docker is not installed"));
        assert!(
            refused(ContainerKind::Apptainer, "auto").contains("apptainer or singularity is not installed")
        );
        assert!(refused(ContainerKind::Charliecloud, "auto").contains("ch-run or bwrap"));
        assert!(refused(ContainerKind::Podman, "none").contains("containers.runtime is none"));
        assert!(refused(ContainerKind::Custom, "auto").contains("containers.custom is empty"));
    }
}
