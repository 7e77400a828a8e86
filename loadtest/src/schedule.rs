//! When an open loop sends: seeded Poisson arrivals. Owns no clock.

use std::time::Duration;

/// An endless sequence of send times, counted from the start of a run.
pub(crate) struct Poisson {
    state: u64,
    mean_s: f64,
    now_s: f64,
}

impl Poisson {
    /// Arrivals at `rate` a second; the same seed gives the same times.
    pub(crate) fn new(rate: f64, seed: u64) -> Self {
        // Xorshift has no way out of zero.
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            mean_s: 1.0 / rate,
            now_s: 0.0,
        }
    }

    /// A number in (0, 1], by xorshift64*.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits + 1) as f64 / (1u64 << 53) as f64
    }
}

impl Iterator for Poisson {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.now_s -= self.uniform().ln() * self.mean_s;
        Duration::try_from_secs_f64(self.now_s).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_the_one_asked_for() {
        let last = Poisson::new(1000.0, 7).nth(99_999).unwrap();
        assert!((last.as_secs_f64() - 100.0).abs() < 2.0, "{last:?}");
    }

    #[test]
    fn seed_fixes_the_times() {
        let first = |seed| Poisson::new(10.0, seed).take(5).collect::<Vec<_>>();
        assert_eq!(first(3), first(3));
        assert_ne!(first(3), first(4));
    }
}
