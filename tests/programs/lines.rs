//! What a process says, line by line, without waiting for ever.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;

/// Everything that came through a pipe so far, kept by a thread that reads it.
pub struct Lines {
    shared: Arc<(Mutex<Kept>, Condvar)>,
    /// How many of the lines were handed out by [`Lines::next`].
    taken: usize,
}

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Reads this from now on.
    pub fn of(input: impl Read + Send + 'static) -> Self {
        let shared: Arc<(Mutex<Kept>, Condvar)> = Arc::default();
        let kept = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in BufReader::new(input).split(b'\n').map_while(Result::ok) {
                lock(&kept).lines.push(String::from_utf8_lossy(&line).into_owned());
                kept.1.notify_all();
            }
            lock(&kept).ended = true;
            kept.1.notify_all();
        });
        Self { shared, taken: 0 }
    }

    /// The next line.
    ///
    /// # Errors
    /// There is none by the deadline, or no more.
    pub fn next(&mut self, deadline: Duration) -> anyhow::Result<String> {
        let line = self.wait("after the last", self.taken, deadline, |_| true)?;
        self.taken += 1;
        Ok(line)
    }

    /// The first line that fits, past or to come.
    ///
    /// # Errors
    /// There is none by the deadline, or no more.
    pub fn find(&self, what: &str, deadline: Duration, fits: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        self.wait(what, 0, deadline, fits)
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        lock(&self.shared).lines.join("\n")
    }

    /// All lines, when the other end is closed.
    pub fn whole(&self) -> String {
        let mut kept = lock(&self.shared);
        while !kept.ended {
            kept = self.shared.1.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
        kept.lines.join("\n")
    }

    fn wait(&self, what: &str, from: usize, deadline: Duration, fits: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let began = Instant::now();
        let mut kept = lock(&self.shared);
        let mut looked_at = from;
        loop {
            if let Some(line) = kept.lines.get(looked_at..).unwrap_or_default().iter().find(|line| fits(line)) {
                return Ok(line.clone());
            }
            looked_at = looked_at.max(kept.lines.len());
            let left = deadline.saturating_sub(began.elapsed());
            if kept.ended || left.is_zero() {
                let why = if kept.ended { "they have ended" } else { "the deadline has passed" };
                bail!("no line {what}: {why}:\n{}", kept.lines.join("\n"));
            }
            kept = self.shared.1.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock(shared: &(Mutex<Kept>, Condvar)) -> MutexGuard<'_, Kept> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}
