//! What a block is in Kubernetes: a pod for each executor, and a secret with what they are handed.
//!
//! Pods are not started again when they end: an executor's id lives once.

use super::super::scheduler::{Request, job_name, quoted};
use super::{BLOCK, ENDPOINT};
use crate::config::kubernetes::{Kind, Kubernetes, Toleration, Volume};
use bursa_core::id::ExecutorId;
use serde_json::{Map, Value, json};

/// The home directory in a pod.
const HOME: &str = "/var/lib/bursa";
/// Where a pod finds what it is handed.
const HANDED: &str = "/run/bursa";

/// The block as a list to create, the secret first: pods wait for nothing then.
pub(super) fn block(request: &Request<'_>, endpoint: &str) -> Value {
    let labels = json!({(ENDPOINT): endpoint, (BLOCK): request.block.to_string()});
    let mut items = vec![secret(request, &labels)];
    let ids = request.executors.iter().enumerate();
    items.extend(ids.map(|(rank, executor)| pod(request, &labels, rank, *executor)));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The keys of a block's executors, for as long as the block lives.
fn secret(request: &Request<'_>, labels: &Value) -> Value {
    let handed: Map<String, Value> =
        request.handed.iter().map(|(name, text)| (name.clone(), text.as_str().into())).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": job_name(request.block), "labels": labels},
        "immutable": true,
        "stringData": handed,
    })
}

fn pod(request: &Request<'_>, labels: &Value, rank: usize, executor: ExecutorId) -> Value {
    let (config, kubernetes) = (request.config, &request.config.kubernetes);
    let name = job_name(request.block);
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("{name}-{rank}"),
            "labels": labels,
            "annotations": {"bursa/endpoint-name": config.name},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": config.blocks.walltime.as_secs(),
            "automountServiceAccountToken": !kubernetes.service_account.is_empty(),
            "enableServiceLinks": false,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container(request, executor)],
            "volumes": volumes(kubernetes, &name, executor),
        },
    });
    let spec = &mut pod["spec"];
    if !kubernetes.service_account.is_empty() {
        spec["serviceAccountName"] = kubernetes.service_account.as_str().into();
    }
    if !kubernetes.pull_secrets.is_empty() {
        spec["imagePullSecrets"] =
            kubernetes.pull_secrets.iter().map(|name| json!({"name": name})).collect::<Value>();
    }
    if !kubernetes.node_selector.is_empty() {
        spec["nodeSelector"] = json!(kubernetes.node_selector);
    }
    if !kubernetes.tolerations.is_empty() {
        spec["tolerations"] = kubernetes.tolerations.iter().map(toleration).collect();
    }
    if let Some(patch) = &kubernetes.pod {
        merge(&mut pod, patch);
    }
    pod
}

fn container(request: &Request<'_>, executor: ExecutorId) -> Value {
    let mut mounts = vec![
        json!({"name": "home", "mountPath": HOME}),
        json!({"name": "handed", "mountPath": HANDED, "readOnly": true}),
    ];
    let volumes = request.config.kubernetes.volumes.iter().enumerate();
    mounts.extend(volumes.map(|(n, volume)| {
        json!({"name": format!("volume-{n}"), "mountPath": volume.path, "readOnly": volume.read_only})
    }));
    json!({
        "name": "executor",
        "image": request.config.kubernetes.image,
        "command": ["sh", "-c", script(request, executor)],
        "env": environment(request),
        "resources": resources(request),
        "volumeMounts": mounts,
        // What a pod said last comes with its end.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    })
}

/// Makes a home of what was handed over, of which the executor becomes the owner: it refuses a key that others can read.
fn script(request: &Request<'_>, executor: ExecutorId) -> String {
    let name = quoted(&request.config.name);
    let init = &request.config.blocks.worker_init;
    let init = if init.is_empty() { String::new() } else { format!("{init}\n") };
    format!(
        "set -e\n\
         umask 077\n\
         endpoint={HOME}/endpoints/{name}\n\
         mkdir -p \"$endpoint/executors\"\n\
         cat {HANDED}/endpoint.json >\"$endpoint/endpoint.json\"\n\
         cat {HANDED}/manager.json >\"$endpoint/manager.json\"\n\
         cat {HANDED}/executor.key >\"$endpoint/executors/{executor}.key\"\n\
         {init}\
         exec bursa --home {HOME} executor --endpoint {name} --id {executor}\n"
    )
}

/// Without a number of its own a pod has a worker for each core that it asks for, else for each that it finds.
fn environment(request: &Request<'_>) -> Value {
    let config = request.config;
    let value = |name: &str, value: String| match name {
        "BURSA_WORKERS" if config.one_per_core => config.blocks.cores.to_string(),
        _ => value,
    };
    let all = config.to_env().into_iter();
    all.map(|(name, text)| json!({"name": name, "value": value(name, text)})).collect()
}

/// What is asked for is also the limit, unless another is set.
fn resources(request: &Request<'_>) -> Value {
    let (blocks, kubernetes) = (&request.config.blocks, &request.config.kubernetes);
    let cores = if blocks.cores == 0 { String::new() } else { blocks.cores.to_string() };
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for (name, asked, limit) in
        [("cpu", &cores, &kubernetes.cores_limit), ("memory", &blocks.mem, &kubernetes.mem_limit)]
    {
        if !asked.is_empty() {
            requests.insert(name.into(), asked.as_str().into());
        }
        match limit.as_str() {
            "none" => None,
            "" => Some(asked.as_str()).filter(|asked| !asked.is_empty()),
            limit => Some(limit),
        }
        .and_then(|limit| limits.insert(name.into(), limit.into()));
    }
    // Cards and the like are asked for by their limit.
    for one in blocks.gres.split(',').filter(|one| !one.is_empty()) {
        let (name, count) = one.split_once('=').unwrap_or((one, "1"));
        limits.insert(name.into(), count.into());
    }
    json!({"requests": requests, "limits": limits})
}

fn volumes(kubernetes: &Kubernetes, secret: &str, executor: ExecutorId) -> Value {
    let item = |key: &str, path: &str| json!({"key": key, "path": path});
    // A pod sees no key but its own.
    let items = [
        item("endpoint.json", "endpoint.json"),
        item("manager.json", "manager.json"),
        item(&format!("{executor}.key"), "executor.key"),
    ];
    let mut all = vec![
        json!({"name": "home", "emptyDir": {}}),
        json!({"name": "handed", "secret": {"secretName": secret, "defaultMode": 0o444, "items": items}}),
    ];
    let source = |volume: &Volume| match volume.kind {
        Kind::Secret => ("secret", json!({"secretName": volume.name})),
        Kind::Config => ("configMap", json!({"name": volume.name})),
        Kind::Claim => ("persistentVolumeClaim", json!({"claimName": volume.name})),
    };
    all.extend(kubernetes.volumes.iter().enumerate().map(|(n, volume)| {
        let (kind, source) = source(volume);
        json!({"name": format!("volume-{n}"), (kind): source})
    }));
    all.into()
}

fn toleration(toleration: &Toleration) -> Value {
    let mut all = match &toleration.value {
        Some(value) => json!({"key": toleration.key, "operator": "Equal", "value": value}),
        None => json!({"key": toleration.key, "operator": "Exists"}),
    };
    if let Some(effect) = &toleration.effect {
        all["effect"] = effect.as_str().into();
    }
    all
}

/// RFC 7396: objects are joined, `null` removes, and everything else takes the place of what was there.
fn merge(target: &mut Value, patch: &Value) {
    let (Some(fields), Value::Object(patch)) = (target.as_object_mut(), patch) else {
        patch.clone_into(target);
        return;
    };
    for (name, value) in patch {
        match value {
            Value::Null => drop(fields.remove(name)),
            Value::Object(_) => merge(fields.entry(name).or_insert_with(|| json!({})), value),
            _ => drop(fields.insert(name.clone(), value.clone())),
        }
    }
}
