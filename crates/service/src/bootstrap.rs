//! The first start: an owner and his token; and `client.toml`, from which SDK and CLI know url and token.

use crate::home::{Home, write_private};
use crate::store::SqliteStore;
use crate::{Error, auth, clock};

/// Makes sure that `client.toml` names `url` and a token that is valid; keeps the one it has.
///
/// # Errors
/// The home or the store cannot be written.
pub(crate) fn prepare_client(home: &Home, store: &mut SqliteStore, url: &str) -> Result<(), Error> {
    let owner = match store.owner()? {
        Some(owner) => owner,
        None => store.create_user(clock::new_id().map_err(Error::Random)?, "owner", clock::wall())?,
    };
    let path = home.root.join("client.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let known = table.get("token").and_then(toml::Value::as_str).unwrap_or_default();
    let token = match store.knows_token(&auth::hash(known), clock::wall())? {
        true => known.to_owned(),
        false => {
            let token = auth::new_token().map_err(Error::Random)?;
            let id = clock::new_id().map_err(Error::Random)?;
            store.create_token(id, &owner, "client.toml", &auth::hash(&token), clock::wall())?;
            token
        }
    };
    let mut fresh = toml::Table::new();
    fresh.insert("url".to_owned(), url.into());
    fresh.insert("token".to_owned(), token.into());
    let fresh = fresh.to_string();
    if fresh == text { Ok(()) } else { write_private(&path, &fresh) }
}
