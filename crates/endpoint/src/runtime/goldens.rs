//! The command lines, word by word.

use super::tree::Entry;
use super::*;
use crate::config::{CONTAINER_KEYS, Config, SANDBOX_KEYS};
use bursa_core::config::{Source, Values};

fn config(set: &[(&str, &str)]) -> Config {
    let mut values = Values::default();
    for (name, value) in set {
        let mut keys = SANDBOX_KEYS.iter().chain(CONTAINER_KEYS);
        values.offer(keys.find(|key| key.name == *name).unwrap(), *value, Source::Env);
    }
    Config::from_values(&values, Path::new("/h"), "lab").unwrap()
}

fn launch(program: Program, set: &[(&str, &str)]) -> Result<Launch, String> {
    let config = config(set);
    let image = match program {
        Program::Charliecloud | Program::Bwrap => Image::Path("/img/py".into()),
        _ => Image::Name("python:3.11".into()),
    };
    let spec = Spec {
        program,
        path: "/bin/prog".into(),
        image,
        tree: vec![
            Entry::Link("usr/bin".into(), "/bin".into()),
            Entry::Bind("/img/py/usr".into(), "/usr".into()),
        ],
        name: "bursa-e-1".into(),
        label: "lab@/h".into(),
        package: Path::new("/h/lib/x"),
        control: "/h/w/control".into(),
        empty: "/h/w/empty".into(),
        hidden: &[],
        sandbox: &config.sandbox,
        containers: &config.containers,
        env: vec![("PATH".into(), "/usr/bin".into()), ("LANG".into(), "C".into())],
        allowed: vec![("LANG".into(), "C".into())],
        user: (1000, 100),
        confine: None,
    };
    spec.launch("/h/w/cwd".into())
}

/// The words with the boot code by its name.
fn line(program: Program, set: &[(&str, &str)]) -> String {
    let words = launch(program, set).unwrap().argv;
    words.join(" ".as_ref()).into_string().unwrap().replace(BOOT, "BOOT")
}

fn variables(program: Program) -> String {
    let env = launch(program, &[]).unwrap().env;
    env.iter().map(|(name, value)| assign(name, value).into_string().unwrap()).collect::<Vec<_>>().join(" ")
}

const EVERYTHING: &[(&str, &str)] = &[
    ("sandbox.network", "none"),
    ("sandbox.memory_mb", "512"),
    ("sandbox.pids", "64"),
    ("sandbox.cpus", "1.5"),
    ("sandbox.read", "/usr"),
    ("sandbox.write", "/var"),
    ("sandbox.devices", "/dev/fuse"),
    ("containers.gpus", "nvidia"),
    ("containers.python", "/opt/python"),
];

#[test]
fn podman() {
    assert_eq!(
        line(Program::Podman, &[]),
        "/bin/prog run --rm --name=bursa-e-1 --label=bursa.endpoint=lab@/h --user=1000:100 --cap-drop=ALL \
         --security-opt=no-new-privileges --read-only --workdir=/tmp --preserve-fds=1 --read-only-tmpfs=false \
         --log-driver=none --userns=keep-id --network=host --shm-size=1024m \
         --tmpfs=/tmp:rw,nosuid,nodev,size=1024m,mode=1777 --pids-limit=4096 -v /h/lib/x:/tmp/.bursa:ro --env HOME=/tmp \
         --env PYTHONPATH=/tmp/.bursa --env BURSA_ZYGOTE_FD=3 --env LANG --entrypoint python3 python:3.11 -c BOOT"
    );
    assert_eq!(
        line(Program::Podman, EVERYTHING),
        "/bin/prog run --rm --name=bursa-e-1 --label=bursa.endpoint=lab@/h --user=1000:100 --cap-drop=ALL \
         --security-opt=no-new-privileges --read-only --workdir=/tmp --preserve-fds=1 --read-only-tmpfs=false \
         --log-driver=none --userns=keep-id --device=nvidia.com/gpu=all --network=none --shm-size=1024m \
         --tmpfs=/tmp:rw,nosuid,nodev,size=1024m,mode=1777 --memory=512m --pids-limit=64 --cpus=1.5 -v /usr:/usr:ro \
         -v /var:/var -v /h/lib/x:/tmp/.bursa:ro --device /dev/fuse --env HOME=/tmp --env PYTHONPATH=/tmp/.bursa \
         --env BURSA_ZYGOTE_FD=3 --env LANG --entrypoint /opt/python python:3.11 -c BOOT"
    );
    let granted = line(Program::Podman, &[("sandbox.write", "/tmp")]);
    assert!(granted.contains("-v /tmp:/tmp") && !granted.contains("--tmpfs=/tmp"), "{granted}");
}

#[test]
fn docker() {
    assert_eq!(
        line(Program::Docker, &[("containers.gpus", "amd")]),
        "/bin/prog run --rm --name=bursa-e-1 --label=bursa.endpoint=lab@/h --user=1000:100 --cap-drop=ALL \
         --security-opt=no-new-privileges --read-only --workdir=/tmp --device=/dev/kfd --device=/dev/dri \
         -v /h/w/control:/tmp/.bursa-control --env=BURSA_ZYGOTE_SOCKET=/tmp/.bursa-control/zygote --network=host \
         --shm-size=1024m --tmpfs=/tmp:rw,nosuid,nodev,size=1024m,mode=1777 --pids-limit=4096 \
         -v /h/lib/x:/tmp/.bursa:ro --env HOME=/tmp --env PYTHONPATH=/tmp/.bursa --env BURSA_ZYGOTE_FD=3 --env LANG \
         --entrypoint python3 python:3.11 -c BOOT"
    );
    assert_eq!(launch(Program::Docker, &[]).unwrap().control, Control::Socket("/h/w/control/zygote".into()));
}

#[test]
fn apptainer_and_singularity() {
    assert_eq!(
        line(Program::Apptainer, EVERYTHING),
        "/bin/prog --silent exec --userns --containall --no-home --no-init --cleanenv --pwd=/tmp --net --network=none \
         --nv --memory=512m --cpus=1.5 --bind /usr:/usr:ro --bind /var:/var --bind /h/lib/x:/tmp/.bursa:ro \
         --bind /dev/fuse:/dev/fuse python:3.11 /opt/python -c BOOT"
    );
    assert_eq!(
        variables(Program::Apptainer),
        "PATH=/usr/bin LANG=C APPTAINERENV_PYTHONPATH=/tmp/.bursa APPTAINERENV_BURSA_ZYGOTE_FD=3 APPTAINERENV_LANG=C"
    );
    assert!(variables(Program::Singularity).contains("SINGULARITYENV_PYTHONPATH=/tmp/.bursa"));
}

#[test]
fn charliecloud() {
    assert_eq!(
        line(Program::Charliecloud, &[("sandbox.write", "/var")]),
        "/bin/prog --env-no-expand --private-tmp --bind=/var:/var --bind=/h/lib/x:/tmp/.bursa --cd=/tmp /img/py -- \
         python3 -c BOOT"
    );
    assert_eq!(
        variables(Program::Charliecloud),
        "LANG=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin USER=1000 HOME=/tmp \
         PYTHONPATH=/tmp/.bursa BURSA_ZYGOTE_FD=3"
    );
    assert!(launch(Program::Charliecloud, EVERYTHING).unwrap_err().contains("sandbox.network is none"));
}

#[test]
fn shifter() {
    assert_eq!(
        line(Program::Shifter, &[("containers.gpus", "nvidia"), ("sandbox.read", "/usr")]),
        "/bin/prog --image=python:3.11 --clearenv --module=gpu --volume=/usr:/usr:ro --volume=/h/lib/x:/bursa:ro \
         --env=HOME=/tmp --env=PYTHONPATH=/bursa --env=BURSA_ZYGOTE_FD=3 --env=LANG=C python3 -c BOOT"
    );
    assert!(launch(Program::Shifter, EVERYTHING).unwrap_err().contains("sandbox.network is none"));
}

#[test]
fn bubblewrap() {
    let text = line(Program::Bwrap, &[("sandbox.read", "/var"), ("sandbox.network", "none")]);
    let (namespaces, rest) = text.split_once(" --symlink usr/bin /bin ").unwrap();
    assert_eq!(
        namespaces,
        "/bin/prog --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --unshare-net \
         --as-pid-1 --die-with-parent --cap-drop ALL --cap-add CAP_SYS_ADMIN"
    );
    assert!(
        rest.starts_with("--ro-bind /img/py/usr /usr --proc /proc --dev-bind /dev/null /dev/null"),
        "{rest}"
    );
    assert!(
        rest.ends_with(
            "--dir /run/bursa --ro-bind /h/lib/x /run/bursa --ro-bind /var /var --tmpfs /tmp --remount-ro / \
             --chdir / -- python3 -c BOOT"
        ),
        "{rest}"
    );
}

#[test]
fn the_owners_own_command() {
    let set =
        [("containers.custom", "start --image={image} -v {package}:{package} {name} {command} {control}")];
    assert_eq!(
        line(Program::Custom, &set),
        "/bin/prog --image=python:3.11 -v /h/lib/x:/h/lib/x bursa-e-1 python3 -c BOOT /h/w/control"
    );
    assert_eq!(
        variables(Program::Custom),
        "LANG=C PATH=/usr/bin HOME=/tmp PYTHONPATH=/h/lib/x BURSA_ZYGOTE_FD=3 \
         BURSA_ZYGOTE_SOCKET=/h/w/control/zygote"
    );
}

#[test]
fn what_cannot_be_mounted_is_refused() {
    let bad = tempfile::Builder::new().prefix("a,b").tempdir().unwrap();
    let set = [("sandbox.read", bad.path().to_str().unwrap())];
    for program in
        [Program::Podman, Program::Docker, Program::Apptainer, Program::Charliecloud, Program::Bwrap]
    {
        assert!(launch(program, &set).unwrap_err().contains("has ':' or ',' in it"), "{program:?}");
    }
}
