//! Registered functions: what the service knows of one, apart from its body.

use crate::id::{FunctionId, Hash, UserId};
use crate::time::Wall;

/// A registered function. Its body is content-addressed: many functions may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The function.
    pub function: FunctionId,
    /// Who registered it.
    pub owner: UserId,
    /// Its name in the user's code.
    pub name: String,
    /// What it does, for people.
    pub description: String,
    /// `major.minor` of the Python that serialized it.
    pub python: String,
    /// The hash of its body.
    pub hash: Hash,
    /// When it was registered.
    pub registered: Wall,
}
