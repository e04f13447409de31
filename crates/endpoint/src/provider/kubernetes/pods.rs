//! How the pods of an endpoint fare, from what `kubectl get pods` prints: a block is what its pods are together.

use super::super::scheduler::{Job, JobState, job_name};
use super::BLOCK;
use bursa_core::id::BlockId;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct List {
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    active_deadline_seconds: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    reason: Option<String>,
    message: Option<String>,
    start_time: Option<Timestamp>,
    conditions: Vec<Condition>,
    container_statuses: Vec<Container>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(flatten)]
    why: Why,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    state: State,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    waiting: Option<Why>,
    terminated: Option<Terminated>,
}

#[derive(Deserialize)]
struct Why {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    exit_code: i64,
    #[serde(flatten)]
    why: Why,
}

/// The blocks, from the seconds since 1970 on the first line and the list of pods behind it.
///
/// # Errors
/// What cannot be read.
pub(super) fn jobs(stdout: &str) -> Result<Vec<Job>, String> {
    let (now, list) = stdout.split_once('\n').ok_or("it printed nothing")?;
    let now: i64 = now.trim().parse().map_err(|_| format!("'{now}' is no time"))?;
    let list: List =
        serde_json::from_str(list).map_err(|error| format!("its pods cannot be read: {error}"))?;
    let mut blocks: BTreeMap<BlockId, Vec<Pod>> = BTreeMap::new();
    for pod in list.items {
        if let Some(block) = pod.metadata.labels.get(BLOCK).and_then(|block| block.parse().ok()) {
            blocks.entry(block).or_default().push(pod);
        }
    }
    let job =
        |(block, pods): (BlockId, Vec<Pod>)| Job { block, job: job_name(block), state: state(now, &pods) };
    Ok(blocks.into_iter().map(job).collect())
}

/// It runs as soon as and as long as one of its pods does.
fn state(now: i64, pods: &[Pod]) -> JobState {
    if let Some(pod) = pods.iter().find(|pod| matches!(&*pod.status.phase, "Running" | "Unknown")) {
        return JobState::Running(left_ms(now, pod));
    }
    let ended = |pod: &&Pod| matches!(&*pod.status.phase, "Succeeded" | "Failed");
    match pods.iter().find(|pod| !ended(pod)) {
        Some(pod) => JobState::Waiting(waiting(pod)),
        None => {
            let failed = pods.iter().find(|pod| pod.status.phase == "Failed").or(pods.first());
            JobState::Ended(failed.map_or_else(|| "it has no pods".into(), ending))
        }
    }
}

fn left_ms(now: i64, pod: &Pod) -> Option<u64> {
    let end = pod.status.start_time?.as_second() + pod.spec.active_deadline_seconds?;
    Some(u64::try_from(end - now).unwrap_or(0) * 1_000)
}

/// Why it does not run: no node has room for it, or its container cannot be made.
fn waiting(pod: &Pod) -> String {
    let scheduled =
        |condition: &&Condition| condition.r#type == "PodScheduled" && condition.status == "False";
    let container =
        pod.status.container_statuses.iter().find_map(|container| container.state.waiting.as_ref());
    let why = pod.status.conditions.iter().find(scheduled).map(|condition| &condition.why).or(container);
    let why = why.map(in_words).filter(|why| !why.is_empty()).unwrap_or_else(|| "no node yet".into());
    format!("Kubernetes pod {} is pending: {why}", pod.metadata.name)
}

/// How it ended; its message is the end of its log where its container failed.
fn ending(pod: &Pod) -> String {
    let (status, name) = (&pod.status, &pod.metadata.name);
    let container =
        status.container_statuses.iter().find_map(|container| container.state.terminated.as_ref());
    let code = container.map_or(String::new(), |it| format!(" with exit code {}", it.exit_code));
    let own = in_words(&Why { reason: status.reason.clone(), message: status.message.clone() });
    let said = container.map(|it| in_words(&it.why)).unwrap_or_default();
    let why: Vec<String> = [own, said].into_iter().filter(|why| !why.is_empty()).collect();
    format!("Kubernetes pod {name} ended as {}{code} ({})", status.phase, why.join("; "))
}

fn in_words(why: &Why) -> String {
    let parts = [&why.reason, &why.message].map(|part| part.as_deref().unwrap_or_default().trim());
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}
