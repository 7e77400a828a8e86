//! How many lanes of a servable hang. The watchdog counts up, the lane whose run
//! ends after all counts down.

/// Lanes whose runs do not end.
#[derive(Default)]
pub(super) struct Hung {
    /// All of them.
    pub count: usize,
    /// Those that no new lane replaces.
    pub stuck: usize,
}
