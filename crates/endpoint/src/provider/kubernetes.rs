//! Kubernetes: a block is pods and the secret with their keys, made, looked at and removed by `kubectl`.

mod manifest;
mod pods;

use super::scheduler::{Call, Job, Request, Scheduler, job_name, quoted};
use crate::config::Config;
use bursa_core::id::{BlockId, EndpointId};

/// The label with the endpoint's id.
const ENDPOINT: &str = "bursa/endpoint";
/// The label with the block's id.
const BLOCK: &str = "bursa/block";
/// What the time is, and then the pods: how long they still have is not said.
const STATUS: &str = "date +%s && exec \"$@\"";

/// Kubernetes, by its command.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// `kubectl` and what it is always told.
    kubectl: Vec<String>,
    endpoint: String,
}

impl Kubernetes {
    /// For the pods of this endpoint.
    #[must_use]
    pub fn new(config: &Config, endpoint: Option<EndpointId>) -> Self {
        let mut kubectl = vec!["kubectl".to_owned()];
        for (flag, value) in
            [("context", &config.kubernetes.context), ("namespace", &config.kubernetes.namespace)]
        {
            if !value.is_empty() {
                kubectl.push(format!("--{flag}={value}"));
            }
        }
        Self { kubectl, endpoint: endpoint.map_or_else(|| "not-registered".into(), |id| id.to_string()) }
    }

    fn kubectl(&self, words: &[&str]) -> Call {
        Call { words: self.kubectl.clone(), stdin: String::new() }.with(words)
    }

    /// Pods are found by their label; the secret by its name: so there is no need for the right to list secrets.
    fn delete(&self, blocks: &[&str]) -> Call {
        let kubectl: Vec<String> = self.kubectl.iter().map(|word| quoted(word)).collect();
        let (kubectl, options) = (kubectl.join(" "), "--ignore-not-found --wait=false");
        let names: Vec<String> = blocks.iter().map(|block| format!("bursa-{block}")).collect();
        let (blocks, names) = (blocks.join(","), names.join(" "));
        let script = format!(
            "{kubectl} delete pods --selector='{BLOCK} in ({blocks})' {options} && {kubectl} delete secrets {names} {options}"
        );
        Call::new(["sh", "-c", &script])
    }
}

impl Scheduler for Kubernetes {
    fn name(&self) -> &'static str {
        "Kubernetes"
    }

    fn reaches_home(&self) -> bool {
        false
    }

    fn leaves_ended(&self) -> bool {
        true
    }

    fn script(&self, request: &Request<'_>) -> String {
        format!("{:#}\n", manifest::block(request, &self.endpoint))
    }

    fn submit(&self, script: String) -> Call {
        Call { stdin: script, ..self.kubectl(&["create", "--filename=-", "--output=name"]) }
    }

    fn submitted(&self, stdout: &str) -> Result<String, String> {
        let pod = stdout.lines().find_map(|line| line.trim().strip_prefix("pod/"));
        let block = pod.and_then(|pod| pod.rsplit_once('-')).map(|(block, _)| block.to_owned());
        block.ok_or_else(|| format!("kubectl printed no pod's name but '{}'", stdout.trim()))
    }

    fn status(&self) -> Call {
        let selector = format!("--selector={ENDPOINT}={}", self.endpoint);
        let pods = self.kubectl(&["get", "pods", &selector, "--output=json"]);
        let pods: Vec<&str> = pods.words.iter().map(String::as_str).collect();
        Call::new(["sh", "-c", STATUS, "sh"]).with(&pods)
    }

    fn jobs(&self, stdout: &str) -> Result<Vec<Job>, String> {
        pods::jobs(stdout)
    }

    fn cancel(&self, jobs: &[&str]) -> Call {
        let blocks: Vec<&str> = jobs.iter().map(|job| job.trim_start_matches("bursa-")).collect();
        self.delete(&blocks)
    }

    fn cancel_unknown(&self, block: BlockId) -> Call {
        self.cancel(&[&job_name(block)])
    }
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
