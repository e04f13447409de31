use super::*;
use crate::provider::script::sample;
use bursa_core::id::ExecutorId;
use serde_json::Value;

const BLOCK: BlockId = sample::BLOCK;
const LEAST: &[(&str, &str)] = &[("image", "lab/bursa:1"), ("listen", "0.0.0.0:7411")];

fn config(set: &[(&str, &str)]) -> Config {
    sample::try_config("kubernetes", &[LEAST, set].concat()).unwrap()
}

fn kubernetes(set: &[(&str, &str)]) -> Kubernetes {
    Kubernetes::new(&config(set), Some(EndpointId::from_bytes([0xe1; 16])))
}

/// Without what is of no interest here: times, addresses and the sandbox.
fn manifest(set: &[(&str, &str)]) -> String {
    let config = config(set);
    let ids = 1..=u8::try_from(config.blocks.nodes).unwrap();
    let executors: Vec<_> = ids.map(|n| ExecutorId::from_bytes([n; 16])).collect();
    let keys = executors.iter().map(|id| (format!("{id}.key"), format!("the key of {id}\n")));
    let handed = ["endpoint.json", "manager.json"].map(|name| (name.to_owned(), "{}\n".to_owned()));
    let handed = handed.into_iter().chain(keys).collect();
    let request = Request { block: BLOCK, executors: &executors, config: &config, log: "".into(), handed };
    let mut all: Value = serde_json::from_str(&kubernetes(set).script(&request)).unwrap();
    let of_interest =
        |name: &str| ["WORKERS", "EXECUTORS", "PYTHON"].iter().any(|one| name == format!("BURSA_{one}"));
    for pod in all["items"].as_array_mut().unwrap().iter_mut().skip(1) {
        let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
        env.retain(|one| of_interest(one["name"].as_str().unwrap()));
    }
    format!("{all:#}\n")
}

#[track_caller]
fn golden(name: &str, found: &str) {
    let path = format!("{}/src/provider/kubernetes/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{path} differs (UPDATE=1 writes it anew):\n{found}");
}

#[test]
fn the_least_block() {
    golden("least.json", &manifest(&[]));
}

#[test]
fn the_largest_block() {
    let set = [
        ("workers", "4"),
        ("python", "/opt/conda/bin/python"),
        ("nodes_per_block", "2"),
        ("walltime", "1-12:30:00"),
        ("cores_per_node", "8"),
        ("mem_per_node", "16Gi"),
        ("gres", "nvidia.com/gpu=2,example.org/fast"),
        ("worker_init", "export PATH=/opt/lab/bin:$PATH"),
        ("service_account", "reader"),
        ("pull_secrets", "registry, other"),
        ("node_selector", "disk=ssd,zone=a"),
        ("tolerations", "gpu=yes:NoSchedule,spot"),
        ("volumes", "secret:token:/run/token:ro,config:tables:/etc/tables,claim:data:/data"),
        ("cores_limit", "none"),
        ("mem_limit", "20Gi"),
        (
            "pod",
            r#"{"metadata": {"annotations": {"lab/team": "a"}}, "spec": {"priorityClassName": "low", "securityContext": null}}"#,
        ),
    ];
    golden("largest.json", &manifest(&set));
}

#[test]
fn what_kubernetes_does_not_have_is_refused() {
    let refused = |set: &[(&str, &str)]| sample::try_config("kubernetes", set).unwrap_err().to_string();
    for key in ["partition", "account", "qos", "constraint", "scheduler_options", "launcher"] {
        let said = refused(&[LEAST, &[(key, "single")]].concat());
        assert!(said.contains("say what you need in the section [kubernetes]"), "{said}");
    }
    assert!(refused(&[("listen", "0.0.0.0:7411")]).contains("pods need an image"));
    for listen in ["", "0.0.0.0:0"] {
        let said = refused(&[("image", "lab/bursa:1"), ("listen", listen)]);
        assert!(said.contains("name a port, as in 0.0.0.0:7411"), "{said}");
    }
}

#[test]
fn the_commands() {
    let plain = kubernetes(&[]);
    let there = kubernetes(&[("context", "lab"), ("namespace", "science")]);
    assert_eq!(
        there.submit("{}".into()),
        Call {
            words: [
                "kubectl",
                "--context=lab",
                "--namespace=science",
                "create",
                "--filename=-",
                "--output=name"
            ]
            .map(str::to_owned)
            .to_vec(),
            stdin: "{}".into()
        }
    );
    assert_eq!(
        plain.status(),
        Call::new([
            "sh",
            "-c",
            "date +%s && exec \"$@\"",
            "sh",
            "kubectl",
            "get",
            "pods",
            "--selector=bursa/endpoint=e1e1e1e1-e1e1-e1e1-e1e1-e1e1e1e1e1e1",
            "--output=json"
        ])
    );
    assert_eq!(
        plain.cancel(&["bursa-a", "bursa-b"]),
        Call::new([
            "sh",
            "-c",
            "kubectl delete pods --selector='bursa/block in (a,b)' --ignore-not-found --wait=false && \
             kubectl delete secrets bursa-a bursa-b --ignore-not-found --wait=false"
        ])
    );
    assert_eq!(plain.cancel_unknown(BLOCK), plain.cancel(&[&job_name(BLOCK)]));
    let name = job_name(BLOCK);
    assert_eq!(plain.submitted(&format!("secret/{name}\npod/{name}-0\npod/{name}-1\n")), Ok(name));
    assert!(plain.submitted("secret/x\n").unwrap_err().contains("no pod's name"));
}

/// A pod of block `block` with this status.
fn pod(block: u8, rank: u8, status: &str) -> String {
    let id = BlockId::from_bytes([block; 16]);
    format!(
        r#"{{"metadata": {{"name": "bursa-{id}-{rank}", "labels": {{"bursa/block": "{id}"}}}},
            "spec": {{"activeDeadlineSeconds": 3600}}, "status": {status}}}"#
    )
}

fn states(pods: &[String]) -> Vec<(u8, super::super::scheduler::JobState)> {
    let printed = format!("1000000300\n{{\"kind\": \"List\", \"items\": [{}]}}", pods.join(","));
    let jobs = kubernetes(&[]).jobs(&printed).unwrap();
    jobs.into_iter().map(|job| (job.block.as_bytes()[0], job.state)).collect()
}

#[test]
fn what_pods_say_of_their_block() {
    use super::super::scheduler::JobState::{Ended, Running, Waiting};
    let running = r#"{"phase": "Running", "startTime": "2001-09-09T01:46:40Z"}"#;
    let unschedulable = r#"{"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]}"#;
    let pulling = r#"{"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff",
        "message": "Back-off pulling image \"lab/bursa:9\""}}}]}"#;
    let failed = r#"{"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 127,
        "reason": "Error", "message": "sh: 1: exec: bursa: not found\n"}}}]}"#;
    let late = r#"{"phase": "Failed", "reason": "DeadlineExceeded",
        "message": "Pod was active on the node longer than the specified deadline"}"#;
    let done = r#"{"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0,
        "reason": "Completed"}}}]}"#;
    let found = states(&[
        pod(1, 0, unschedulable),
        pod(2, 0, pulling),
        pod(3, 0, unschedulable),
        pod(3, 1, running),
        pod(4, 0, done),
        pod(4, 1, failed),
        pod(5, 0, late),
        pod(6, 0, done),
        pod(7, 0, "{}"),
        r#"{"metadata": {"name": "another"}, "spec": {}, "status": {}}"#.into(),
    ]);
    let name =
        |block: u8, rank| format!("Kubernetes pod {}-{rank}", job_name(BlockId::from_bytes([block; 16])));
    let pending = |block, why: &str| Waiting(format!("{} is pending: {why}", name(block, 0)));
    assert_eq!(
        found,
        [
            (1, pending(1, "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.")),
            (2, pending(2, "ImagePullBackOff: Back-off pulling image \"lab/bursa:9\"")),
            (3, Running(Some(3_300_000))),
            (
                4,
                Ended(format!(
                    "{} ended as Failed with exit code 127 (Error: sh: 1: exec: bursa: not found)",
                    name(4, 1)
                ))
            ),
            (
                5,
                Ended(format!(
                    "{} ended as Failed (DeadlineExceeded: Pod was active on the node longer than the specified deadline)",
                    name(5, 0)
                ))
            ),
            (6, Ended(format!("{} ended as Succeeded with exit code 0 (Completed)", name(6, 0)))),
            (7, pending(7, "no node yet")),
        ]
    );
}

#[test]
fn pods_that_cannot_be_read_are_not_taken_for_gone() {
    let plain = kubernetes(&[]);
    for printed in ["", "soon\n{}", "5\n{\"items\": [{}]}", "5\nError"] {
        assert!(plain.jobs(printed).is_err(), "{printed}");
    }
    assert_eq!(plain.jobs("5\n{\"items\": []}"), Ok(Vec::new()));
}
