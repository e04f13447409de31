//! Sharing, of all that can be shared: `bursa function share`, `bursa endpoint share` and their like.

use super::task::escaped;
use crate::args::{Share, Unshare};
use crate::client::Client;
use crate::output::{self, field};
use serde_json::{Value, json};

/// Shares the thing `id` of this kind, as REST names it.
pub(super) fn share(client: &Client, as_json: bool, kind: &str, id: &str, how: &Share) -> anyhow::Result<()> {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let new = json!({
        "users": some(&how.users),
        "groups": some(&how.groups),
        "public": how.public,
        "role": how.role,
        "functions": some(&how.functions),
        "core_hours": how.core_hours,
        "per": how.per,
        "at_once": how.at_once,
    });
    client.post(&at(kind, id), &new)?;
    if as_json {
        output::print_json(&json!({"shared": id}));
    } else {
        let with =
            how.users.iter().chain(&how.groups).cloned().chain(how.public.then(|| "everybody".to_owned()));
        say!("{id} is shared with {}", with.collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// Shares it with somebody no longer.
pub(super) fn unshare(
    client: &Client,
    as_json: bool,
    kind: &str,
    id: &str,
    with: &Unshare,
) -> anyhow::Result<()> {
    let who = match (&with.user, &with.group) {
        (Some(user), _) => format!("user={}", escaped(user)),
        (None, Some(group)) => format!("group={}", escaped(group)),
        (None, None) => "public=true".to_owned(),
    };
    client.delete(&format!("{}?{who}", at(kind, id)))?;
    if as_json {
        output::print_json(&json!({"unshared": id}));
    } else {
        let name = with.user.as_deref().or(with.group.as_deref()).unwrap_or("everybody");
        say!("{id} is no longer shared with {name}; what was submitted goes on");
    }
    Ok(())
}

/// With whom it is shared.
pub(super) fn list(client: &Client, as_json: bool, kind: &str, id: &str) -> anyhow::Result<()> {
    let page = client.get(&at(kind, id))?;
    if as_json {
        output::print_json(&page);
        return Ok(());
    }
    let shares = page["shares"].as_array().map(Vec::as_slice).unwrap_or_default();
    let headings = ["WITH", "ROLE", "BOUNDS"];
    output::print_table(&headings, shares.iter().map(row).collect(), "it is shared with nobody");
    Ok(())
}

fn at(kind: &str, id: &str) -> String {
    format!("/shares/{kind}/{}", escaped(id))
}

fn row(share: &Value) -> Vec<String> {
    let with = match (share["user"].as_str(), share["group"].as_str()) {
        (Some(user), _) => user.to_owned(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "everybody".to_owned(),
    };
    let mut bounds = Vec::new();
    if let Some(functions) = share["functions"].as_array() {
        bounds.push(format!("{} functions", functions.len()));
    }
    if share["core_hours"].is_number() {
        let [hours, per, used] = ["core_hours", "per", "used_core_hours"].map(|name| field(share, name));
        bounds.push(format!("{hours} core-hours a {per} ({used} used, until {})", field(share, "resets_at")));
    }
    if share["at_once"].is_number() {
        bounds.push(format!("{} tasks at once", field(share, "at_once")));
    }
    vec![with, field(share, "role"), bounds.join("; ")]
}
