//! Growth by least squares, with its interval of 95 %. Readings that follow each other are
//! alike, so blocks of them are averaged first. Owns numbers only.

/// Blocks of readings at most.
const BLOCKS_MAX: usize = 20;
/// The 0.975 quantiles of Student's t, from one degree of freedom on.
const T: [f64; 18] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101,
];

/// Memory after so many requests.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub requests_m: f64,
    pub resident_mb: f64,
}

/// MB per million requests, and its interval.
#[derive(Debug)]
pub(super) struct Growth {
    pub low: f64,
    pub slope: f64,
    pub high: f64,
}

impl Growth {
    /// The growth over the readings; no number where they are fewer than three.
    pub(super) fn of(readings: &[Reading]) -> Self {
        let size = readings.len().div_ceil(BLOCKS_MAX).max(1);
        let blocks: Vec<Reading> = readings.chunks(size).map(mean).collect();
        let degrees = blocks.len().saturating_sub(2);
        let centre = mean(&blocks);
        let sum = |term: fn(f64, f64) -> f64| -> f64 {
            let apart = |b: &Reading| {
                term(
                    b.requests_m - centre.requests_m,
                    b.resident_mb - centre.resident_mb,
                )
            };
            blocks.iter().map(apart).sum()
        };
        let (across, along) = (sum(|x, _| x * x), sum(|x, y| x * y));
        let slope = along / across;
        let unexplained = (sum(|_, y| y * y) - slope * along).max(0.0);
        let error = (unexplained / degrees as f64 / across).sqrt();
        let quantile = T.get(degrees.wrapping_sub(1)).copied().unwrap_or(f64::NAN);
        let half = quantile * error;
        Self {
            low: slope - half,
            slope,
            high: slope + half,
        }
    }
}

fn mean(readings: &[Reading]) -> Reading {
    let count = readings.len() as f64;
    let sum = |value: fn(&Reading) -> f64| readings.iter().map(value).sum::<f64>();
    Reading {
        requests_m: sum(|r| r.requests_m) / count,
        resident_mb: sum(|r| r.resident_mb) / count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Random;

    /// Readings that grow by `slope`, with noise of one MB.
    fn readings(count: u32, slope: f64) -> Vec<Reading> {
        let mut random = Random::new(7);
        let reading = |at| {
            let requests_m = f64::from(at) / 100.0;
            let resident_mb = 100.0 + slope * requests_m + random.normal();
            Reading {
                requests_m,
                resident_mb,
            }
        };
        (0..count).map(reading).collect()
    }

    #[test]
    fn interval_holds_the_true_growth() {
        let leak = Growth::of(&readings(100, 20.0));
        assert!(
            leak.low > 0.0 && leak.high > 20.0 && leak.low < 20.0,
            "{leak:?}"
        );
        let level = Growth::of(&readings(100, 0.0));
        assert!(level.low < 0.0 && level.high > 0.0, "{level:?}");
    }

    #[test]
    fn three_points_have_the_interval_of_the_textbook() {
        let at = |requests_m, resident_mb| Reading {
            requests_m,
            resident_mb,
        };
        let growth = Growth::of(&[at(0.0, 0.0), at(1.0, 2.0), at(2.0, 1.0)]);
        // The residual of 1.5 over a spread of 2, with one degree of freedom.
        assert!((growth.slope - 0.5).abs() < 1e-12);
        let half = 12.706 * (1.5_f64 / 2.0).sqrt();
        assert!((growth.high - 0.5 - half).abs() < 1e-9, "{growth:?}");
    }

    #[test]
    fn too_few_readings_meet_nothing() {
        assert!(Growth::of(&readings(2, 1.0)).low.is_nan());
        assert!(Growth::of(&[]).low.is_nan());
    }
}
