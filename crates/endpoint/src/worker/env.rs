//! The environment of workers: an allow-list, so that no secret of the endpoint reaches user code.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Variables that workers inherit.
const NAMES: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TERM",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PYTHONHASHSEED",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "MODULEPATH",
    "LOADEDMODULES",
];
/// Variables that name places of the host. `HOME` is left: modules of the user are found by it; workers get another.
const OUTSIDE: &[&str] = &["TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"];
/// Variables that mean nothing in another system's files.
const PLACES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TERM",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "MODULEPATH",
    "LOADEDMODULES",
];
/// Families of variables that workers inherit.
const FAMILIES: &[&str] = &["LC_", "CONDA_", "PYENV_", "OMP_", "SLURM_", "PBS_", "KMP_", "NVIDIA_"];

/// The zygote's environment: what is allowed of `given`, and what it needs to find its package and socket.
pub(super) fn of_zygote(
    given: impl Iterator<Item = (OsString, OsString)>,
    package: &Path,
) -> Vec<(OsString, OsString)> {
    let mut path = package.as_os_str().to_owned();
    let mut kept = Vec::new();
    for (name, value) in given {
        if name == "PYTHONPATH" {
            if !value.is_empty() {
                path.push(":");
                path.push(value);
            }
        } else if is_allowed(&name) {
            kept.push((name, value));
        }
    }
    kept.push(("PYTHONPATH".into(), path));
    kept.push(("BURSA_ZYGOTE_FD".into(), crate::runtime::CONTROL_FD.to_string().into()));
    kept
}

/// The same within a sandbox: what names places of the host that are not there is left out.
pub(super) fn of_sandbox(env: Vec<(OsString, OsString)>, told: &str) -> Vec<(OsString, OsString)> {
    let mut kept: Vec<_> =
        env.into_iter().filter(|(name, _)| !OUTSIDE.iter().any(|out| name == out)).collect();
    kept.push(("BURSA_SANDBOX".into(), told.into()));
    kept
}

/// What of the host's environment the program that starts a container has: everything but what is Bursa's.
pub(crate) fn of_program(given: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    given.filter(|(name, _)| !name.to_string_lossy().starts_with("BURSA_")).collect()
}

/// What of it functions in a container have: settings, and no places of the host.
pub(crate) fn of_container(given: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let is_inside = |name: &OsStr| {
        is_allowed(name)
            && !PLACES.iter().any(|place| name == *place)
            && !["CONDA_", "PYENV_"].iter().any(|start| name.to_string_lossy().starts_with(start))
    };
    given.iter().filter(|(name, _)| is_inside(name)).cloned().collect()
}

fn is_allowed(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| NAMES.contains(&name) || FAMILIES.iter().any(|start| name.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_outside_and_our_package_comes_first() {
        let given = [
            ("PATH", "/bin"),
            ("BURSA_TOKEN", "s"),
            ("AWS_SECRET", "s"),
            ("LC_ALL", "C"),
            ("PYTHONPATH", "/mine"),
        ];
        let given = given.iter().map(|(name, value)| (name.into(), value.into()));
        let env = of_zygote(given, Path::new("/lib/h"));
        let names: Vec<_> = env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "LC_ALL", "PYTHONPATH", "BURSA_ZYGOTE_FD"]);
        assert_eq!(env[2].1, "/lib/h:/mine");
    }
}
