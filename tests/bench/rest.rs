//! What a rest does to memory, in which a daemon that looks twice a minute always finds itself.

use std::time::{Duration, Instant};

/// Bytes of a line of a processor's caches.
const LINE: usize = 64;

/// Memory that is walked through, a line at a time.
pub(crate) struct Walk(Vec<u8>);

impl Walk {
    /// So many MiB, walked through once, so that they are there.
    pub(crate) fn new(mebibytes: usize) -> Self {
        let mut walk = Self(vec![1; mebibytes << 20]);
        walk.walk();
        walk
    }

    /// Changes every line. Returns how long that took.
    pub(crate) fn walk(&mut self) -> Duration {
        let began = Instant::now();
        for byte in self.0.iter_mut().step_by(LINE) {
            *byte = std::hint::black_box(byte.wrapping_add(1));
        }
        began.elapsed()
    }
}
