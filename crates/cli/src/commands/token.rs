//! `bursa token`: API tokens.

use crate::args::Token;
use crate::client::{ApiError, Client};
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Token) -> anyhow::Result<ExitCode> {
    if let Token::Show = command {
        return show(settings, as_json);
    }
    let client = Client::from_settings(settings)?;
    match command {
        Token::New { name } => {
            let made = client.post("/tokens", &json!({"name": name}))?;
            if as_json { output::print_json(&made) } else { say!("{}", field(&made, "token")) }
        }
        Token::Revoke { id } => {
            client.delete(&format!("/tokens/{id}"))?;
            if as_json {
                output::print_json(&json!({"revoked": id}));
            } else {
                say!("token {id} is revoked");
            }
        }
        Token::List | Token::Show => {
            let page = client.get("/tokens")?;
            if as_json {
                output::print_json(&page);
            } else {
                let tokens = page["tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
                let rows =
                    tokens.iter().map(|t| ["id", "name", "created_at"].map(|n| field(t, n)).into()).collect();
                output::print_table(&["TOKEN", "NAME", "CREATED"], rows, "no tokens");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let home = settings.home().display().to_string();
    let credentials = settings.credentials()?.ok_or(ApiError::NoToken { home })?;
    if as_json {
        output::print_json(&json!({"url": credentials.url, "token": credentials.token}));
    } else {
        say!("{}", credentials.token);
    }
    Ok(ExitCode::SUCCESS)
}
