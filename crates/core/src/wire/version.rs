//! The version of the wire: raised whenever an old reader would misread, or misunderstand, a new message.

/// The newest version that this build speaks.
pub const VERSION: u8 = 4;
/// The oldest version that this build still understands, and written in every envelope: it can be read by all since.
pub const OLDEST: u8 = 2;
/// From this version on a peer runs calls in their containers; an older one takes no notice of them.
pub const CONTAINERS: u8 = 3;
/// From this version on a peer gives a call the resources that it asks for.
pub const RESOURCES: u8 = 4;
/// From this version on a peer gives a call its secrets.
pub const SECRETS: u8 = 4;

/// The version two peers speak: the highest that both know; `None` if there is none.
#[must_use]
pub fn agree(min: u8, max: u8) -> Option<u8> {
    let version = max.min(VERSION);
    (version >= min && version >= OLDEST).then_some(version)
}
