//! A small seeded generator of random numbers whose stream is part of what this program promises.
//!
//! `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). Twenty lines of our own rather
//! than a crate, because a crate may change its stream between versions and then the same seed would give another trace. Every draw
//! has its own stream, found by hashing what it is about (seed, purpose, person, day), so that a longer or larger trace begins with
//! the shorter one. Only `+ - * /` are used on floats: `ln` and `cos` differ between C libraries in the last bit.

/// Odd constant of the golden ratio: the step of `SplitMix64`.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a stream of draws is about.
#[derive(Clone, Copy)]
pub(super) enum About {
    /// The habits of a person.
    Person = 1,
    /// One day of a person.
    Day = 2,
    /// A block of days in which leave may begin.
    Leave = 3,
    /// A week in which an illness may begin.
    Illness = 4,
    /// What a team has in common.
    Team = 5,
    /// What happens to everybody on one day.
    World = 6,
    /// What is told of a person on one day.
    Hints = 7,
}

/// A stream of random numbers.
pub(super) struct Random(u64);

impl Random {
    /// The stream of `seed` about the `a`-th thing of this sort at `b`.
    pub(super) fn new(seed: u64, about: About, a: u64, b: i64) -> Self {
        let mut state = seed;
        for word in [about as u64, a, b as u64] {
            state = mix(state.wrapping_add(STEP) ^ mix(word.wrapping_add(STEP)));
        }
        Self(state)
    }

    /// 64 random bits.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform in 0 to 1, 1 excluded.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Uniform between two numbers.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform among `low..=high`.
    pub(super) fn whole(&mut self, low: i64, high: i64) -> i64 {
        low + (self.unit() * (high - low + 1) as f64) as i64
    }

    /// Bell-shaped: the sum of four uniforms (Irwin-Hall), which is never further than 3.5 standard deviations from its mean.
    pub(super) fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        mean + deviation * (sum - 2.0) * 1.732_050_807_568_877_2 // one uniform has variance 1/12, four have 1/3
    }
}

/// The finalizer of `SplitMix64`.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lie_where_they_should() {
        let mut random = Random::new(1, About::Day, 2, 3);
        let draws: Vec<f64> = (0..20_000).map(|_| random.normal(10.0, 2.0)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 20_000.0;
        assert!((mean - 10.0).abs() < 0.05 && (variance - 4.0).abs() < 0.15, "{mean} {variance}");
        assert!((0..2000).all(|_| (3..=7).contains(&random.whole(3, 7))));
    }

    #[test]
    fn the_stream_never_changes() {
        assert_eq!(Random(0).bits(), 0xe220_a839_7b1d_cdaf, "first output of SplitMix64 with state 0");
    }
}
