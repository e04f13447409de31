//! The bodies of users, tokens and groups of users.

use super::value::{Text, Time};
use bursa_core::id::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The user of the token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhoAmI<'a> {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) user_id: Text<UserId>,
    pub(crate) name: &'a str,
    /// Whether he may do what an administrator may, with this token.
    pub(crate) admin: bool,
    /// What the token may be used for.
    pub(crate) scopes: Vec<&'static str>,
    /// When the token ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Time>,
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is for.
    pub(crate) name: String,
    /// What it may be used for; absent: all that the token which asks may, but `admin`.
    pub(crate) scopes: Option<Vec<String>>,
    /// Seconds until it ends; absent: it ends with the token which asks, or never.
    pub(crate) expires_in: Option<u64>,
}

/// A new token: shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenMade {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: Text<uuid::Uuid>,
    pub(crate) token: String,
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: Text<uuid::Uuid>,
    pub(crate) name: String,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Time,
    pub(crate) scopes: Vec<&'static str>,
    /// When it ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Time>,
    /// Its last use, or up to a minute before it; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) used_at: Option<Time>,
}

/// The user's tokens, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<Token>,
}

/// A user to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// What others share with: nobody else has it.
    pub(crate) name: String,
    /// May do what an administrator may; default false.
    pub(crate) admin: Option<bool>,
    /// A program's account, not a person's; default false.
    pub(crate) service: Option<bool>,
}

/// A new user and his first token, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserMade {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) user_id: Text<UserId>,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: Text<uuid::Uuid>,
    pub(crate) token: String,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownUser {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) user_id: Text<UserId>,
    pub(crate) name: String,
    pub(crate) admin: bool,
    /// Whether his tokens are valid.
    pub(crate) active: bool,
    /// `person` or `service`.
    pub(crate) kind: &'static str,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Time,
    /// Who he is elsewhere: of one user only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) identities: Vec<Identity>,
}

/// All users, in the order in which they came.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Users {
    pub(crate) users: Vec<ShownUser>,
}

/// Who a user is elsewhere.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Who says so: the URL of an OpenID Connect provider.
    pub(crate) issuer: String,
    /// The user's id there.
    pub(crate) subject: String,
    /// The user's name there, for people.
    #[serde(default)]
    pub(crate) username: String,
}
