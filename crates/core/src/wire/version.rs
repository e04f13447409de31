//! The version of the wire: raised whenever an old reader would misread, or misunderstand, a new message.

/// The newest version that this build speaks.
pub const VERSION: u8 = 3;
/// The oldest version that this build still understands, and written in every envelope: it can be read by all since.
pub const OLDEST: u8 = 2;
/// From this version on a peer runs calls in their containers; an older one takes no notice of them.
pub const CONTAINERS: u8 = 3;

/// The version two peers speak: the highest that both know; `None` if there is none.
#[must_use]
pub fn agree(min: u8, max: u8) -> Option<u8> {
    let version = max.min(VERSION);
    (version >= min && version >= OLDEST).then_some(version)
}
