//! Calibration: the share of rows of a class by score, as a non-decreasing curve. It is fitted by
//! isotonic regression (pool adjacent violators) and interpolated linearly.

#[cfg(test)]
mod tests;

/// Most points of a curve.
const POINTS_MAX: usize = 256;

/// A curve from scores to shares, with at least one point; scores increase.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// Accepts points whose scores increase.
    pub(crate) fn new(points: Vec<(f64, f64)>) -> Option<Self> {
        (!points.is_empty()).then_some(Self(points))
    }

    /// Fits a curve to rows, each with a score and whether the row belongs to the class; none
    /// without rows.
    pub(crate) fn fit(rows: &[(f64, bool)]) -> Option<Self> {
        let mut sorted: Vec<(f64, f64)> = rows
            .iter()
            .map(|(score, hit)| (*score, f64::from(u8::from(*hit))))
            .collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));

        let block = |tied: &[(f64, f64)]| -> ScoreBlock {
            let hits: f64 = tied.iter().map(|(_, hit)| hit).sum();
            (tied.len() as f64, hits, tied[0].0, tied[0].0)
        };
        let blocks = pooled(
            sorted.chunk_by(|a, b| a.0 == b.0).map(block),
            |before, last| before.1 * last.0 < last.1 * before.0,
            |before, last| (before.0 + last.0, before.1 + last.1, before.2, last.3),
        );

        let ends = |b: &ScoreBlock| [(b.2, b.1 / b.0), (b.3, b.1 / b.0)];
        let mut points: Vec<(f64, f64)> = blocks.iter().flat_map(ends).collect();
        points.dedup_by(|a, b| a.0 == b.0);
        limit_points(&mut points);
        Self::new(points)
    }

    /// Returns the points.
    pub(crate) fn points(&self) -> &[(f64, f64)] {
        &self.0
    }

    /// Returns the share at a score; constant beyond the ends.
    pub(crate) fn calibrated(&self, score: f64) -> f64 {
        let above = self.0.partition_point(|p| p.0 < score);
        match (
            above.checked_sub(1).and_then(|i| self.0.get(i)),
            self.0.get(above),
        ) {
            (Some(low), Some(high)) => {
                low.1 + (high.1 - low.1) * (score - low.0) / (high.0 - low.0)
            }
            (Some(only), None) | (None, Some(only)) => only.1,
            (None, None) => score,
        }
    }
}

/// Rows of equal share: how many, those of the class, the lowest and the highest score.
type ScoreBlock = (f64, f64, f64, f64);

/// Joins neighbouring blocks until each one rises above the one before (pool adjacent violators, Ayer et
/// al. 1955).
pub fn pooled<B>(
    blocks: impl IntoIterator<Item = B>,
    rises: impl Fn(&B, &B) -> bool,
    join: impl Fn(&B, &B) -> B,
) -> Vec<B> {
    let mut pooled: Vec<B> = Vec::new();
    for block in blocks {
        pooled.push(block);
        while let [.., before, last] = pooled.as_slice()
            && !rises(before, last)
        {
            let whole = join(before, last);
            pooled.truncate(pooled.len() - 2);
            pooled.push(whole);
        }
    }
    pooled
}

/// Drops points evenly if there are too many; the ends stay.
fn limit_points(points: &mut Vec<(f64, f64)>) {
    if points.len() > POINTS_MAX {
        let last = points.len() - 1;
        *points = (0..POINTS_MAX)
            .map(|i| points[i * last / (POINTS_MAX - 1)])
            .collect();
    }
}
