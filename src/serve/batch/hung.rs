//! Counts the hung lanes of a servable. The watchdog increments it, and a lane whose run ends after
//! all decrements it.

/// Numbers of lanes whose runs do not end.
#[derive(Default)]
pub(super) struct Hung {
    /// All hung lanes.
    pub count: usize,
    /// Hung lanes that are not replaced by a new one.
    pub stuck: usize,
}
