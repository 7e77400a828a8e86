//! The settings that are tried: how cores are shared out to lanes and threads, and how many
//! rows a batch may have.

/// Limits of batches: the default, a small one, and none merged at all.
const LIMITS: [Option<usize>; 3] = [None, Some(8), Some(1)];

/// Lanes, and threads within an operator of each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    pub lanes: usize,
    pub intra: usize,
}

impl Share {
    pub(super) fn text(self) -> String {
        format!("{} × {}", self.lanes, self.intra)
    }
}

/// Settings of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub share: Share,
    /// The most rows of a batch; 1 turns batching off, none is the default.
    pub rows_max: Option<usize>,
}

impl Candidate {
    /// What a server does without settings.
    pub(super) fn default_of(cores: usize) -> Self {
        let share = Share {
            lanes: cores,
            intra: 1,
        };
        Self {
            share,
            rows_max: None,
        }
    }

    /// In the form of the configuration.
    pub(super) fn settings(self, model: &str) -> Vec<String> {
        let Share { lanes, intra } = self.share;
        let mut all = vec![
            format!("model.{model}.lanes={lanes}"),
            format!("model.{model}.intra_op_threads={intra}"),
        ];
        match self.rows_max {
            None => {}
            Some(1) => all.push(format!("model.{model}.batching=off")),
            Some(rows) => all.push(format!("model.{model}.batch_rows_max={rows}")),
        }
        all
    }

    pub(super) fn text(self) -> String {
        let share = self.share.text();
        match self.rows_max {
            None => share,
            Some(1) => format!("{share}, unbatched"),
            Some(rows) => format!("{share}, {rows} rows"),
        }
    }
}

/// The ways to share out cores, in powers of two; one lane of one thread is first.
pub(super) fn shares(cores: usize) -> Vec<Share> {
    let powers = || std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n <= cores);
    let pair = |lanes| powers().map(move |intra| Share { lanes, intra });
    let mut all: Vec<Share> = powers().flat_map(pair).collect();
    all.retain(|share| share.lanes * share.intra <= cores);
    let whole = Candidate::default_of(cores).share;
    if !all.contains(&whole) {
        all.push(whole);
    }
    all
}

/// Every share with every limit.
pub(super) fn candidates(cores: usize) -> Vec<Candidate> {
    let limited = |share| LIMITS.map(|rows_max| Candidate { share, rows_max });
    shares(cores).into_iter().flat_map(limited).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_out_in_powers_of_two() {
        let texts = |cores| -> Vec<String> { shares(cores).into_iter().map(Share::text).collect() };
        assert_eq!(texts(1), ["1 × 1"]);
        assert_eq!(texts(2), ["1 × 1", "1 × 2", "2 × 1"]);
        assert_eq!(texts(3), ["1 × 1", "1 × 2", "2 × 1", "3 × 1"]);
    }

    #[test]
    fn defaults_and_no_batching_are_among_the_candidates() {
        let all = candidates(2);
        let default = Candidate::default_of(2);
        assert!(all.contains(&default));
        let off = Candidate {
            rows_max: Some(1),
            ..default
        };
        assert!(all.contains(&off));
        assert_eq!(off.settings("m")[2], "model.m.batching=off");
        assert_eq!(default.settings("m").len(), 2);
    }
}
