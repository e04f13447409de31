//! bubblewrap's command line, and what the interpreter that enters it is told.
//!
//! The interpreter adds what it needs of the host itself (`bursa/worker/enclose.py`), since only it knows that.

use crate::config::{Network, Sandbox};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Inodes of a worker's scratch for each MiB of it.
const INODES_PER_MB: u64 = 256;
/// Software of the system: visible in every sandbox where it is there.
pub(crate) const SYSTEM: &[&str] = &["/usr", "/opt", "/nix/store", "/gnu/store"];
/// Names of `/usr` at the root: links there, or directories of their own.
pub(crate) const ROOTS: &[&str] = &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// What programs read of `/etc`; none of it is secret.
pub(crate) const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hostname",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "OpenCL",
    "os-release",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];
/// Devices that hold nothing.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// What of the host there is to bind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// The program.
    pub(crate) bwrap: PathBuf,
    /// Directories and files that exist, of [`SYSTEM`] and below `/etc`, and others that all may see.
    pub(crate) read: Vec<PathBuf>,
    /// Links at the root and where they lead.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Homes: what holds one of them is never bound for the interpreter's sake.
    pub(crate) homes: Vec<PathBuf>,
    /// Where the endpoint's home would show in what is bound.
    pub(crate) hidden: Vec<PathBuf>,
    /// The executor is run by root.
    pub(crate) is_root: bool,
    /// A pid namespace can have a highest number of its own.
    pub(crate) numbers_apart: bool,
}

/// The arguments before the directories that are bound by name.
pub(crate) fn before(host: &Host, sandbox: &Sandbox) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec![host.bwrap.clone().into()];
    namespaces(&mut argv, host.is_root, sandbox.network == Network::None);
    for path in &host.read {
        add(&mut argv, &[&"--ro-bind", path, path]);
    }
    for (path, target) in &host.links {
        add(&mut argv, &[&"--symlink", target, path]);
    }
    furnish(&mut argv, sandbox);
    argv
}

/// Namespaces and rights.
pub(super) fn namespaces(argv: &mut Vec<OsString>, is_root: bool, is_offline: bool) {
    add(
        argv,
        &[&"--unshare-user", &"--unshare-pid", &"--unshare-ipc", &"--unshare-uts", &"--unshare-cgroup-try"],
    );
    if is_offline {
        add(argv, &[&"--unshare-net"]);
    }
    if is_root {
        // What is owned by root stays root's: in there nobody is.
        add(argv, &[&"--uid", &"65534", &"--gid", &"65534"]);
    }
    // The zygote makes namespaces for its workers, and keeps nothing of that for them.
    add(argv, &[&"--as-pid-1", &"--die-with-parent", &"--cap-drop", &"ALL", &"--cap-add", &"CAP_SYS_ADMIN"]);
}

/// Processes, devices, and where workers have directories of their own.
pub(super) fn furnish(argv: &mut Vec<OsString>, sandbox: &Sandbox) {
    add(argv, &[&"--proc", &"/proc"]);
    for name in DEVICES {
        let path = format!("/dev/{name}");
        add(argv, &[&"--dev-bind", &path, &path]);
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        add(argv, &[&"--symlink", &format!("/proc/self/fd{target}"), &format!("/dev/{name}")]);
    }
    for path in &sandbox.devices {
        add(argv, &[&"--dev-bind-try", path, path]);
    }
    for path in ["/tmp", "/dev/shm", "/run/task", "/run/bursa"] {
        add(argv, &[&"--dir", &path]);
    }
}

/// Appends words.
pub(super) fn add(argv: &mut Vec<OsString>, words: &[&dyn AsRef<OsStr>]) {
    argv.extend(words.iter().map(|word| word.as_ref().to_owned()));
}

/// The arguments after them, before the program.
pub(crate) fn after() -> [&'static str; 5] {
    ["--remount-ro", "/", "--chdir", "/run/bursa", "--"]
}

/// What the interpreter outside is told (`BURSA_SANDBOX`); `inside` is for its workers.
pub(crate) fn told(host: &Host, sandbox: &Sandbox, inside: &Value) -> Value {
    let texts = |paths: Vec<OsString>| -> Vec<String> {
        paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
    };
    let visible: Vec<_> = host.read.iter().map(PathBuf::as_path).chain(ROOTS.iter().map(Path::new)).collect();
    let never: Vec<_> =
        std::iter::once(Path::new("/")).chain(host.homes.iter().map(PathBuf::as_path)).collect();
    json!({
        "before": texts(before(host, sandbox)),
        "binds": binds(host, sandbox),
        "after": after(),
        "visible": visible,
        "never": never,
        "inside": inside,
    })
}

/// What each worker is to keep to. It holds `sandbox.pids` itself by `numbers` of processes or by a `limit`, if at all.
pub(crate) fn inside(sandbox: &Sandbox, filter: &[u8], numbers: bool, limit: bool) -> Value {
    let scratch_mb = u64::from(sandbox.scratch_mb);
    let held_by = |which: bool| if which { sandbox.pids } else { 0 };
    json!({
        "scratch": scratch_mb << 20,
        "inodes": scratch_mb * INODES_PER_MB,
        "numbers": held_by(numbers),
        "processes": held_by(limit),
        "filter": hex(filter),
    })
}

/// What the owner grants, and what stays hidden in it.
fn binds<'a>(host: &'a Host, sandbox: &'a Sandbox) -> Vec<(&'static str, &'a Path)> {
    let of = |kind, paths: &'a [PathBuf]| paths.iter().map(move |path| (kind, path.as_path()));
    of("read", &sandbox.read).chain(of("write", &sandbox.write)).chain(of("hide", &host.hidden)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::config::{Source, Values};

    fn host() -> Host {
        Host {
            bwrap: "/usr/bin/bwrap".into(),
            read: vec!["/usr".into(), "/etc/passwd".into()],
            links: vec![("/bin".into(), "usr/bin".into())],
            homes: vec!["/home/ada".into(), "/home/ada/.bursa".into()],
            hidden: vec!["/home/ada/.bursa".into()],
            is_root: false,
            numbers_apart: false,
        }
    }

    fn sandbox(set: &[(&str, &str)]) -> Sandbox {
        let mut values = Values::default();
        for (name, value) in set {
            let key = crate::config::SANDBOX_KEYS.iter().find(|key| key.name == *name).unwrap();
            values.offer(key, *value, Source::Env);
        }
        crate::Config::from_values(&values, Path::new("/h"), "lab").unwrap().sandbox
    }

    const GOLDEN: &str = "/usr/bin/bwrap --unshare-user --unshare-pid --unshare-ipc --unshare-uts \
        --unshare-cgroup-try --as-pid-1 --die-with-parent --cap-drop ALL --cap-add CAP_SYS_ADMIN \
        --ro-bind /usr /usr --ro-bind /etc/passwd /etc/passwd --symlink usr/bin /bin --proc /proc \
        --dev-bind /dev/null /dev/null --dev-bind /dev/zero /dev/zero --dev-bind /dev/full /dev/full \
        --dev-bind /dev/random /dev/random --dev-bind /dev/urandom /dev/urandom \
        --symlink /proc/self/fd /dev/fd --symlink /proc/self/fd/0 /dev/stdin \
        --symlink /proc/self/fd/1 /dev/stdout --symlink /proc/self/fd/2 /dev/stderr \
        --dir /tmp --dir /dev/shm --dir /run/task --dir /run/bursa";

    fn line(host: &Host, sandbox: &Sandbox) -> String {
        before(host, sandbox).join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn the_command_line_is_this_one() {
        assert_eq!(line(&host(), &sandbox(&[])), GOLDEN);
        let root = Host { is_root: true, ..host() };
        let closed = sandbox(&[("sandbox.network", "none"), ("sandbox.devices", "/dev/nvidia0")]);
        let expected = GOLDEN
            .replace("--unshare-cgroup-try", "--unshare-cgroup-try --unshare-net --uid 65534 --gid 65534")
            .replace("--dir /tmp", "--dev-bind-try /dev/nvidia0 /dev/nvidia0 --dir /tmp");
        assert_eq!(line(&root, &closed), expected);
    }

    #[test]
    fn the_interpreter_is_told_what_is_granted_and_what_stays_hidden() {
        let granted =
            sandbox(&[("sandbox.read", "/etc"), ("sandbox.write", "/tmp"), ("sandbox.scratch_mb", "2")]);
        let told = told(&host(), &granted, &inside(&granted, &[1, 0xab], true, false));
        let binds = json!([["read", "/etc"], ["write", "/tmp"], ["hide", "/home/ada/.bursa"]]);
        assert_eq!(told["binds"], binds);
        assert_eq!(told["never"], json!(["/", "/home/ada", "/home/ada/.bursa"]));
        let inside =
            json!({"scratch": 2 << 20, "inodes": 512, "numbers": 4096, "processes": 0, "filter": "01ab"});
        assert_eq!(told["inside"], inside);
        assert_eq!(told["after"], json!(["--remount-ro", "/", "--chdir", "/run/bursa", "--"]));
    }
}
