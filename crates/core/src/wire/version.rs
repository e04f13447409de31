//! The version of the wire: raised whenever an old reader would misread a new message.

/// The version written by this build, in every envelope.
pub const VERSION: u8 = 2;
/// The oldest version this build still understands.
pub const OLDEST: u8 = 2;

/// The version two peers speak: the highest that both know; `None` if there is none.
#[must_use]
pub fn agree(min: u8, max: u8) -> Option<u8> {
    let version = max.min(VERSION);
    (version >= min && version >= OLDEST).then_some(version)
}
