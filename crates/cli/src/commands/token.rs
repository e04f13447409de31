//! `bursa token`: API tokens.

use crate::args::Token;
use crate::client::{ApiError, Client};
use crate::exit::Coded;
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Token) -> anyhow::Result<ExitCode> {
    if let Token::Show = command {
        return show(settings, as_json);
    }
    let client = Client::from_settings(settings)?;
    match command {
        Token::New { name, scopes, expires } => {
            let scopes = (!scopes.is_empty()).then_some(scopes);
            let expires = expires.as_deref().map(seconds).transpose()?;
            let made =
                client.post("/tokens", &json!({"name": name, "scopes": scopes, "expires_in": expires}))?;
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
                let headings = ["TOKEN", "NAME", "CREATED", "EXPIRES", "LAST USE", "SCOPES"];
                output::print_table(&headings, tokens.iter().map(row).collect(), "no tokens");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(token: &Value) -> Vec<String> {
    let scopes = token["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let scopes: Vec<_> = scopes.iter().map(output::text).collect();
    let mut row: Vec<_> =
        ["id", "name", "created_at", "expires_at", "used_at"].map(|name| field(token, name)).into();
    row.push(scopes.join(" "));
    row
}

/// `90s`, `15m`, `12h`, `30d` or `4w`, in seconds.
pub(super) fn seconds(text: &str) -> anyhow::Result<u64> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 7 * 86_400)];
    let parsed = units.iter().find_map(|(unit, each)| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*each).filter(|seconds| *seconds > 0)
    });
    parsed.ok_or_else(|| {
        let text =
            format!("'{text}' is no time: write a whole number above 0 and s, m, h, d or w, such as 30d");
        Coded { code: 2, text }.into()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(
            ["90s", "15m", "12h", "30d", "2w"].map(|t| seconds(t).unwrap()),
            [90, 900, 43_200, 2_592_000, 1_209_600]
        );
        for wrong in ["", "30", "d", "-1d", "0h", "1.5h", "99999999999999999999d", "9999999999999999999w"] {
            assert!(seconds(wrong).unwrap_err().to_string().contains("such as 30d"), "{wrong}");
        }
    }
}
