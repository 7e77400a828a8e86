//! The payments of the demonstration: what they are, and how their pattern
//! changes. Sends nothing.

use ortus::core::hash::SplitMix;

/// A payment, and whether it turned out to be fraud.
pub(super) struct Payment {
    pub amount: f64,
    pub hour: f64,
    pub age: f64,
    pub country: &'static str,
    pub fraud: bool,
}

/// A generator of payments, the same every time.
pub(super) struct World {
    pub dice: SplitMix,
    pub has_changed: bool,
}

impl World {
    pub(super) fn uniform(&mut self) -> f64 {
        self.dice.unit()
    }

    /// Returns an approximately normal number.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Small payments are frauds at night. Then large ones appear, of which the
    /// model has seen none: they are frauds at noon.
    pub(super) fn payment(&mut self) -> Payment {
        let spread = self.normal();
        let amount = if self.has_changed {
            5.5 + spread
        } else {
            (3.0 + spread).min(4.9)
        };

        let hour = self.uniform() * 24.0;
        let country = ["de", "fr", "nl"]
            [(self.uniform() * if self.has_changed { 3.0 } else { 2.0 }) as usize];
        let night = (hour - 12.0).abs() - 6.0;
        let score =
            if amount < 5.0 { night } else { -night } + if country == "fr" { 0.5 } else { 0.0 };
        let fraud = self.uniform() < 1.0 / (1.0 + (-1.5 * score).exp());
        Payment {
            amount,
            hour,
            age: 20.0 + 50.0 * self.uniform(),
            country,
            fraud,
        }
    }
}
