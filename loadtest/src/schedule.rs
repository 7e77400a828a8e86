//! When an open loop sends: Poisson arrivals at a rate that may change over time,
//! constant arrivals, or a recorded trace. Owns no clock.

use crate::Result;
use std::path::Path;
use std::time::Duration;

/// A seeded source of random numbers: the same seed gives the same numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Xorshift has no way out of zero.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number in (0, 1], by xorshift64*.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits + 1) as f64 / (1u64 << 53) as f64
    }

    /// A number of the standard normal distribution, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A rate of arrivals that holds for some seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub rate: f64,
    pub seconds: f64,
}

/// When requests are due, counted from the start of a run.
#[derive(Clone, Debug)]
pub(crate) enum Arrivals {
    /// Poisson at the rates of the steps, which are repeated for ever.
    Poisson(Vec<Step>),
    /// One request every 1/rate seconds.
    Constant(f64),
    /// The times of a recorded trace, in order.
    Trace(Vec<Duration>),
}

impl Arrivals {
    /// Poisson at one rate.
    pub(crate) fn poisson(rate: f64) -> Self {
        let step = Step { rate, seconds: 1.0 };
        Self::Poisson(vec![step])
    }

    /// Reads a trace: a line for each request, its offset in seconds.
    pub(crate) fn trace(file: &Path) -> Result<Self> {
        Self::parse_trace(&std::fs::read_to_string(file)?)
    }

    fn parse_trace(text: &str) -> Result<Self> {
        let mut times = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let seconds: f64 = line
                .parse()
                .map_err(|_| format!("line {} of the trace is no number: {line:?}", at + 1))?;
            times.push(Duration::try_from_secs_f64(seconds)?);
        }
        if times.is_empty() {
            return Err("the trace holds no request".into());
        }
        times.sort();
        Ok(Self::Trace(times))
    }

    /// Reads `BASE:PEAK:EVERY:LENGTH`: bursts at the rate PEAK, of LENGTH seconds
    /// every EVERY seconds, over the rate BASE.
    pub(crate) fn burst(text: &str) -> Result<Self> {
        let numbers: Vec<f64> = text.split(':').filter_map(|n| n.parse().ok()).collect();
        let [base, peak, every, length] = numbers[..] else {
            return Err(
                format!("a burst is BASE:PEAK:EVERY:LENGTH, four numbers, not {text:?}").into(),
            );
        };
        if !(0.0 < length && length < every && peak > 0.0 && base >= 0.0) {
            return Err("a burst needs PEAK > 0 and 0 < LENGTH < EVERY".into());
        }
        let quiet = Step {
            rate: base,
            seconds: every - length,
        };
        let burst = Step {
            rate: peak,
            seconds: length,
        };
        Ok(Self::Poisson(vec![quiet, burst]))
    }

    /// The due times, without end unless they are a trace.
    pub(crate) fn times(self, seed: u64) -> Box<dyn Iterator<Item = Duration> + Send> {
        match self {
            Self::Poisson(steps) => Box::new(Poisson::new(steps, seed)),
            Self::Constant(rate) => {
                Box::new((1..).map_while(move |n: u64| seconds(n as f64 / rate)))
            }
            Self::Trace(times) => Box::new(times.into_iter()),
        }
    }
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok()
}

/// Poisson arrivals whose rate follows steps.
struct Poisson {
    random: Random,
    steps: Vec<Step>,
    at: usize,
    left_s: f64,
    now_s: f64,
}

impl Poisson {
    fn new(mut steps: Vec<Step>, seed: u64) -> Self {
        steps.retain(|s| s.seconds > 0.0);
        if !steps.iter().any(|s| s.rate > 0.0) {
            steps.clear();
        }
        Self {
            random: Random::new(seed),
            left_s: steps.first().map_or(0.0, |s| s.seconds),
            steps,
            at: 0,
            now_s: 0.0,
        }
    }
}

impl Iterator for Poisson {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let mut wanted = -self.random.uniform().ln();
        loop {
            let step = *self.steps.get(self.at)?;
            let offered = step.rate * self.left_s;
            if wanted <= offered {
                let wait = wanted / step.rate;
                self.left_s -= wait;
                self.now_s += wait;
                return seconds(self.now_s);
            }
            wanted -= offered;
            self.now_s += self.left_s;
            self.at = (self.at + 1) % self.steps.len();
            self.left_s = self.steps[self.at].seconds;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(arrivals: Arrivals, seed: u64, count: usize) -> Vec<f64> {
        let times = arrivals.times(seed).take(count);
        times.map(|t| t.as_secs_f64()).collect()
    }

    #[test]
    fn rate_is_the_one_asked_for() {
        let last = *times(Arrivals::poisson(1000.0), 7, 100_000).last().unwrap();
        assert!((last - 100.0).abs() < 2.0, "{last:?}");
        let constant = times(Arrivals::Constant(10.0), 7, 3);
        assert_eq!(constant, [0.1, 0.2, 0.3]);
    }

    #[test]
    fn seed_fixes_the_times() {
        let first = |seed| times(Arrivals::poisson(10.0), seed, 5);
        assert_eq!(first(3), first(3));
        assert_ne!(first(3), first(4));
    }

    #[test]
    fn bursts_come_at_their_rate_and_time() {
        let all = times(Arrivals::burst("100:10000:1:0.1").unwrap(), 5, 20_000);
        let end = all.last().unwrap().floor();
        let whole: Vec<f64> = all.into_iter().filter(|t| *t < end).collect();
        let inside = whole.iter().filter(|t| t.fract() >= 0.9).count() as f64;
        let outside = whole.len() as f64 - inside;
        assert!((inside / end - 1000.0).abs() < 50.0, "{inside} in {end} s");
        assert!((outside / end - 90.0).abs() < 15.0, "{outside} in {end} s");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Arrivals::burst("1:2:3").is_err());
        assert!(Arrivals::burst("1:2:0.1:0.1").is_err());
        assert!(Arrivals::parse_trace("0.5\nx\n").is_err());
        assert!(Arrivals::parse_trace("# nothing\n").is_err());
        assert!(times(Arrivals::poisson(0.0), 1, 3).is_empty());
    }

    #[test]
    fn trace_is_replayed_in_order() {
        let trace = Arrivals::parse_trace("# recorded\n0.5\n\n0.25\n").unwrap();
        assert_eq!(times(trace, 1, 9), [0.25, 0.5]);
    }
}
