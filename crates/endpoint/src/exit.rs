//! Exit codes of Bursa's processes, as their watchdog reads them.

/// Ended in order.
pub const STOPPED: i32 = 0;
/// Failed in a way that may pass: the watchdog starts it again.
pub const FAILED: i32 = 1;
/// Another process holds this directory, or has taken it over: starting again would be refused again (`EX_TEMPFAIL`).
pub const LOCKED: i32 = 75;
/// Refused for good: superseded, deleted, revoked, or a configuration that cannot work (`EX_CONFIG`).
pub const REFUSED: i32 = 78;

/// Whether a watchdog may start a process again that left with this code.
#[must_use]
pub const fn may_restart(code: i32) -> bool {
    !matches!(code, LOCKED | REFUSED)
}
