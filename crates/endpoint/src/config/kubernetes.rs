//! What the pods of an endpoint are like: the section `kubernetes`, beside what `blocks` says of all providers.

use bursa_core::config::{ConfigError, Key, Values};
use serde_json::Value;
use std::collections::BTreeMap;

macro_rules! key {
    ($const:ident, $name:literal, $env:literal, $about:literal) => {
        const $const: Key =
            Key { name: concat!("kubernetes.", $name), env: $env, default: "", about: $about };
    };
}

key!(
    IMAGE,
    "image",
    "BURSA_KUBERNETES_IMAGE",
    "the image of each pod: with sh, a Python, and this version of bursa on its PATH"
);
key!(NAMESPACE, "namespace", "BURSA_KUBERNETES_NAMESPACE", "where the pods are; empty: what kubectl says");
key!(CONTEXT, "context", "BURSA_KUBERNETES_CONTEXT", "which of kubectl's contexts; empty: its current one");
key!(
    SERVICE_ACCOUNT,
    "service_account",
    "BURSA_KUBERNETES_SERVICE_ACCOUNT",
    "whose rights functions have in the cluster; empty: none"
);
key!(
    PULL_SECRETS,
    "pull_secrets",
    "BURSA_KUBERNETES_PULL_SECRETS",
    "secrets with which the image is pulled, as NAME,NAME"
);
key!(
    NODE_SELECTOR,
    "node_selector",
    "BURSA_KUBERNETES_NODE_SELECTOR",
    "labels that nodes must have, as KEY=VALUE,KEY=VALUE"
);
key!(
    TOLERATIONS,
    "tolerations",
    "BURSA_KUBERNETES_TOLERATIONS",
    "taints of nodes that are borne, as KEY[=VALUE][:EFFECT],…"
);
key!(
    VOLUMES,
    "volumes",
    "BURSA_KUBERNETES_VOLUMES",
    "what else is mounted, as KIND:NAME:PATH[:ro],… where KIND is secret, config (a config map) or claim (a persistent volume claim)"
);
key!(
    CORES_LIMIT,
    "cores_limit",
    "BURSA_KUBERNETES_CORES_LIMIT",
    "most cores of a pod, such as 4 or 500m; empty: blocks.cores_per_node; none: no limit"
);
key!(
    MEM_LIMIT,
    "mem_limit",
    "BURSA_KUBERNETES_MEM_LIMIT",
    "most memory of a pod, such as 16Gi; empty: blocks.mem_per_node; none: no limit"
);
key!(
    POD,
    "pod",
    "BURSA_KUBERNETES_POD",
    "what else is to be said of each pod: a JSON object that is merged into it (RFC 7396)"
);

/// Every key of the section `kubernetes`.
pub const KEYS: &[Key] = &[
    IMAGE,
    NAMESPACE,
    CONTEXT,
    SERVICE_ACCOUNT,
    PULL_SECRETS,
    NODE_SELECTOR,
    TOLERATIONS,
    VOLUMES,
    CORES_LIMIT,
    MEM_LIMIT,
    POD,
];

/// A taint that is borne.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// Its key.
    pub key: String,
    /// Its value; `None`: any.
    pub value: Option<String>,
    /// Its effect; `None`: any.
    pub effect: Option<String>,
}

/// What a volume is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A secret.
    Secret,
    /// A config map.
    Config,
    /// A persistent volume claim.
    Claim,
}

/// Something that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// What it is.
    pub kind: Kind,
    /// Its name in the cluster.
    pub name: String,
    /// Where it is seen.
    pub path: String,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// The values of the section, with types. Texts may be empty.
#[derive(Debug, Clone, Default)]
pub struct Kubernetes {
    /// The image.
    pub image: String,
    /// Where pods are.
    pub namespace: String,
    /// `kubectl`'s context.
    pub context: String,
    /// Whose rights functions have.
    pub service_account: String,
    /// With which the image is pulled.
    pub pull_secrets: Vec<String>,
    /// Labels that nodes must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are borne.
    pub tolerations: Vec<Toleration>,
    /// What else is mounted.
    pub volumes: Vec<Volume>,
    /// Most cores.
    pub cores_limit: String,
    /// Most memory.
    pub mem_limit: String,
    /// Merged into each pod.
    pub pod: Option<Value>,
}

impl Kubernetes {
    /// The section; without an image there can be no pod, which matters if there are to be some.
    pub(super) fn from_values(values: &Values, is_used: bool) -> Result<Self, ConfigError> {
        let image = word(values, &IMAGE)?;
        if is_used && image.is_empty() {
            let why = "pods need an image that has bursa and a Python; docs/hpc.md has one of six lines";
            return Err(values.wrong(&IMAGE, why.into()));
        }
        Ok(Self {
            image,
            namespace: word(values, &NAMESPACE)?,
            context: word(values, &CONTEXT)?,
            service_account: word(values, &SERVICE_ACCOUNT)?,
            pull_secrets: each(values, &PULL_SECRETS).map(str::to_owned).collect(),
            node_selector: node_selector(values)?,
            tolerations: each(values, &TOLERATIONS).map(toleration).collect(),
            volumes: volumes(values)?,
            cores_limit: word(values, &CORES_LIMIT)?,
            mem_limit: word(values, &MEM_LIMIT)?,
            pod: pod(values)?,
        })
    }
}

fn word(values: &Values, key: &Key) -> Result<String, ConfigError> {
    let text = values.get(key).0;
    if text.starts_with('-') || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(values.wrong(key, "it must be one word that does not begin with '-'".into()));
    }
    Ok(text.to_owned())
}

fn each<'a>(values: &'a Values, key: &Key) -> impl Iterator<Item = &'a str> {
    values.get(key).0.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn node_selector(values: &Values) -> Result<BTreeMap<String, String>, ConfigError> {
    let wrong = |part: &str| values.wrong(&NODE_SELECTOR, format!("'{part}' is not KEY=VALUE"));
    let label = |part: &str| {
        let (key, value) =
            part.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| wrong(part))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    each(values, &NODE_SELECTOR).map(label).collect()
}

/// As `kubectl taint` writes it.
fn toleration(text: &str) -> Toleration {
    let (taint, effect) = text.split_once(':').map_or((text, None), |(taint, effect)| (taint, Some(effect)));
    let (key, value) = taint.split_once('=').map_or((taint, None), |(key, value)| (key, Some(value)));
    Toleration { key: key.to_owned(), value: value.map(str::to_owned), effect: effect.map(str::to_owned) }
}

fn volumes(values: &Values) -> Result<Vec<Volume>, ConfigError> {
    let volume = |text: &str| {
        let parts: Vec<&str> = text.split(':').collect();
        let (kind, name, path, read_only) = match parts[..] {
            [kind, name, path] => (kind, name, path, false),
            [kind, name, path, "ro"] => (kind, name, path, true),
            _ => return None,
        };
        let kind = match kind {
            "secret" => Kind::Secret,
            "config" => Kind::Config,
            "claim" => Kind::Claim,
            _ => return None,
        };
        let (name, path) = (name.to_owned(), path.to_owned());
        (!name.is_empty() && path.starts_with('/')).then_some(Volume { kind, name, path, read_only })
    };
    let wrong =
        |text| values.wrong(&VOLUMES, format!("'{text}' is not secret, config or claim:NAME:/PATH[:ro]"));
    each(values, &VOLUMES).map(|text| volume(text).ok_or_else(|| wrong(text))).collect()
}

fn pod(values: &Values) -> Result<Option<Value>, ConfigError> {
    match values.get(&POD).0 {
        "" => Ok(None),
        text => match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Some(Value::Object(object))),
            Ok(_) => Err(values.wrong(&POD, "it must be a JSON object, such as {\"spec\": {…}}".into())),
            Err(error) => Err(values.wrong(&POD, format!("it is not valid JSON: {error}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::config::Source;

    #[test]
    fn a_bad_value_names_its_key_and_what_is_wrong_in_it() {
        for (key, value, why) in [
            (&IMAGE, "", "pods need an image"),
            (&IMAGE, "a b", "one word"),
            (&NAMESPACE, "--all", "does not begin with '-'"),
            (&NODE_SELECTOR, "disk", "'disk' is not KEY=VALUE"),
            (&VOLUMES, "disk:data:/data", "'disk:data:/data' is not secret, config or claim"),
            (&VOLUMES, "claim:data:data", "'claim:data:data' is not"),
            (&POD, "[1]", "a JSON object"),
            (&POD, "{", "not valid JSON"),
        ] {
            let mut values = Values::default();
            values.offer(&IMAGE, "lab/bursa:1", Source::Env);
            values = if key.name == IMAGE.name { Values::default() } else { values };
            values.offer(key, value, Source::Env);
            let error = Kubernetes::from_values(&values, true).unwrap_err().to_string();
            assert!(error.starts_with(key.name) && error.contains(why), "{error}");
        }
    }
}
