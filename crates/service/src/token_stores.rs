//! The token stores of Globus Compute's and funcX's clients, filled as logging in leaves them.
//!
//! In the namespace `user/local`, which only clients of a service of one's own read: what Globus gave stays, and is given
//! to nobody else than before.

use crate::{Error, clock};
use bursa_core::limits;
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// That of clients with `GLOBUS_SDK_ENVIRONMENT=local`, or funcX's word for it.
const NAMESPACE: &str = "user/local";
/// Resource servers, and what clients look for before they believe that somebody is logged in.
const SERVERS: [(&str, &str); 3] = [
    ("funcx_service", "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all"),
    ("auth.globus.org", "openid urn:globus:auth:scope:auth.globus.org:manage_projects"),
    ("search.api.globus.org", "urn:globus:auth:scope:search.api.globus.org:all"),
];
/// As globus-sdk makes it, so that any of its versions goes on with it.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS config_storage (namespace VARCHAR NOT NULL, config_name VARCHAR NOT NULL,
        config_data_json VARCHAR NOT NULL, PRIMARY KEY (namespace, config_name));
    CREATE TABLE IF NOT EXISTS token_storage (namespace VARCHAR NOT NULL, resource_server VARCHAR NOT NULL,
        token_data_json VARCHAR NOT NULL, PRIMARY KEY (namespace, resource_server));
    CREATE TABLE IF NOT EXISTS sdk_storage_adapter_internal (attribute VARCHAR NOT NULL, value VARCHAR NOT NULL,
        PRIMARY KEY (attribute));
    INSERT OR IGNORE INTO sdk_storage_adapter_internal VALUES ('globus-sdk.version', '3.0.0');
    INSERT OR IGNORE INTO sdk_storage_adapter_internal VALUES ('globus-sdk.database_schema_version', '1');";

/// Puts `token` of the user with the id `user` into the stores below `home`, the user's own directory; `compute` is the
/// directory of Globus Compute's clients, if it is another than `.globus_compute` there. The files that it wrote.
///
/// # Errors
/// One sentence: which file could not be written, and why.
pub fn fill(home: &Path, compute: Option<&Path>, token: &str, user: &str) -> Result<Vec<PathBuf>, Error> {
    let compute = compute.map_or_else(|| home.join(".globus_compute"), Path::to_owned);
    let funcx = home.join(".funcx");
    let mut written = Vec::new();
    // Newer clients move the one there and leave a link to it: then both are one.
    for folder in [&compute, &funcx] {
        let path = folder.join("storage.db");
        make_folder(folder).and_then(|()| make_file(&path)).map_err(|why| unwritable(&path, why))?;
        fill_database(&path, token, user).map_err(|why| unwritable(&path, why))?;
        written.push(path);
    }
    let path = funcx.join("credentials/funcx_sdk_tokens.json");
    if is_ours(&path).map_err(|why| unwritable(&path, why))? {
        let tokens: Map<_, _> =
            SERVERS.iter().map(|(server, scope)| ((*server).to_owned(), row(server, scope, token))).collect();
        make_folder(&funcx.join("credentials")).map_err(|why| unwritable(&path, why))?;
        crate::home::write_private(&path, &Value::Object(tokens).to_string())?;
        written.push(path);
    }
    Ok(written)
}

fn fill_database(path: &Path, token: &str, user: &str) -> Result<(), rusqlite::Error> {
    let mut database = Connection::open(path)?;
    let change = database.transaction()?;
    change.execute_batch(SCHEMA)?;
    for (server, scope) in &SERVERS[..2] {
        let mut row = row(server, scope, token);
        row["identity_id"] = json!(user);
        let sql =
            "REPLACE INTO token_storage (namespace, resource_server, token_data_json) VALUES (?1, ?2, ?3)";
        change.execute(sql, params![NAMESPACE, server, row.to_string()])?;
    }
    change.commit()
}

/// It renews itself, for as long as it is not revoked; clients that renew nothing ask for a login when this is over.
fn row(server: &str, scope: &str, token: &str) -> Value {
    json!({
        "resource_server": server,
        "scope": scope,
        "access_token": token,
        "refresh_token": token,
        "expires_at_seconds": clock::wall().0 / 1_000 + limits::LOGIN_OFFLINE_S,
        "token_type": "Bearer",
    })
}

/// Whether the file is not there, or holds tokens of Bursa only. It has no namespaces.
fn is_ours(path: &Path) -> std::io::Result<bool> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        text => text?,
    };
    let known: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let own = |row: &Value| row["access_token"].as_str().is_some_and(crate::auth::is_own);
    Ok(!known.is_empty() && known.values().all(own))
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A file that only its owner reads, whatever it was before.
fn make_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn unwritable(path: &Path, why: impl std::fmt::Display) -> Error {
    let path = path.display();
    Error::Refused(format!(
        "the token store {path} cannot be written: {why}; make it your own, or move it away"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_private_and_what_globus_gave_stays() {
        let dir = tempfile::tempdir().unwrap();
        let written = fill(dir.path(), None, "bursa_one", "ann").unwrap();
        assert_eq!(written.len(), 3);
        for path in &written {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        let database = Connection::open(&written[0]).unwrap();
        let theirs = "INSERT INTO token_storage VALUES ('user/production', 'funcx_service', 'theirs')";
        database.execute(theirs, []).unwrap();
        fill(dir.path(), None, "bursa_two", "ann").unwrap();
        let sql =
            "SELECT namespace, token_data_json FROM token_storage WHERE resource_server = 'funcx_service'
                   ORDER BY namespace";
        let mut find = database.prepare(sql).unwrap();
        let rows: Vec<(String, String)> =
            find.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        assert!(rows[0].0 == "user/local" && rows[0].1.contains("bursa_two"), "{rows:?}");
        assert_eq!(rows[1], ("user/production".to_owned(), "theirs".to_owned()));

        fs::write(&written[2], r#"{"funcx_service": {"access_token": "of Globus"}}"#).unwrap();
        assert_eq!(fill(dir.path(), None, "bursa_two", "ann").unwrap().len(), 2);
        assert!(fs::read_to_string(&written[2]).unwrap().contains("of Globus"));

        let elsewhere = dir.path().join("elsewhere");
        let written = fill(dir.path(), Some(&elsewhere), "bursa_two", "ann").unwrap();
        assert_eq!(written[0], elsewhere.join("storage.db"));
        fs::write(&written[0], "no database, and long enough to be one").unwrap();
        let error = fill(dir.path(), Some(&elsewhere), "bursa_two", "ann").unwrap_err().to_string();
        assert!(error.contains("elsewhere/storage.db") && !error.contains('\n'), "{error}");
    }
}
