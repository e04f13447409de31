//! `bursa memo`: results that equal calls may have.

use super::endpoint;
use crate::args::Memo;
use crate::client::Client;
use crate::output::{self, field};
use crate::settings::Settings;
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, json: bool, command: &Memo) -> anyhow::Result<ExitCode> {
    let client = Client::from_settings(settings)?;
    let answer = match command {
        Memo::Show => client.get("/memo")?,
        Memo::Clear { function, endpoint } => {
            let endpoint = endpoint.as_deref().map(|name| endpoint::id_of(settings, name)).transpose()?;
            let filters = [("function_id", function), ("endpoint_id", &endpoint)];
            let given = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
            let query: Vec<_> =
                given.map(|(name, value)| format!("{name}={}", super::task::escaped(value))).collect();
            client.delete(&format!("/memo?{}", query.join("&")))?
        }
    };
    match command {
        _ if json => output::print_json(&answer),
        Memo::Show => output::print_fields(&answer),
        Memo::Clear { .. } => say!("{} memoized results are forgotten", field(&answer, "removed")),
    }
    Ok(ExitCode::SUCCESS)
}
