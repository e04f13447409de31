//! The bodies of shares and groups of users.

use super::value::{Text, Time};
use bursa_core::id::FunctionId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// With whom to share, and how.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewShare {
    /// Names or ids of users.
    pub(crate) users: Option<Vec<String>>,
    /// Names or ids of groups of users.
    pub(crate) groups: Option<Vec<String>>,
    /// With everybody who has a token.
    pub(crate) public: Option<bool>,
    /// `user` (default) or `admin`, who may also share it and say what an endpoint allows.
    pub(crate) role: Option<String>,
    /// Of an endpoint: only these functions may be called there.
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) functions: Option<Vec<FunctionId>>,
    /// Of an endpoint: so many core-hours in each period, of all who come by this share together.
    pub(crate) core_hours: Option<f64>,
    /// The period: `day`, or `week` (default), from Monday; in UTC.
    pub(crate) per: Option<String>,
    /// Of an endpoint: so many tasks that have not ended, for each user.
    pub(crate) at_once: Option<u32>,
}

/// With whom a thing is shared, and how.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ShownShare {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public: Option<bool>,
    /// `user` or `admin`.
    pub(crate) role: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub(crate) functions: Vec<Text<FunctionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) core_hours: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used_core_hours: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) resets_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_once: Option<u32>,
}

/// All with whom a thing is shared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shares {
    pub(crate) shares: Vec<ShownShare>,
}

/// The only functions that an endpoint runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowedFunctions {
    /// null: any.
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) functions: Option<Vec<Text<FunctionId>>>,
}

/// A group of users to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    /// No other group has it.
    pub(crate) name: String,
    /// Administrators: an identity provider's URL; of whom it says `claim` is in the group.
    pub(crate) issuer: Option<String>,
    pub(crate) claim: Option<String>,
}

/// A new group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupMade {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) group_id: Text<uuid::Uuid>,
}

/// A group of users.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserGroup {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) group_id: Text<uuid::Uuid>,
    pub(crate) name: String,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Time,
    /// Of whom an identity provider says so is in it too: its URL and what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<String>,
    /// Names of those who were added: of one group only, for who may choose them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<String>>,
}

/// The groups of users that the user knows of, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserGroups {
    pub(crate) groups: Vec<UserGroup>,
}

/// A member to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMember {
    /// Name or id.
    pub(crate) user: String,
}
