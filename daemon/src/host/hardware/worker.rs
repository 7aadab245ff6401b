//! Work that may never come back, on a thread of its own with a deadline.
//!
//! A read or a write of sysfs can wait in the kernel for a driver, and that for a guest, for ever and deaf to signals. Whoever waits here
//! gives up at the deadline; the thread stays, and its GPU is known to be occupied until it returns. So a hang costs one thread and one
//! GPU. Deliberately not here: any attempt to end such a thread, which nothing could.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headstart_core::id::GpuId;

/// What a GPU is occupied with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    serial: u64,
    what: String,
    overdue: bool,
}

/// Work by GPU, and how much was ever begun.
#[derive(Debug, Default)]
struct Jobs {
    by_gpu: BTreeMap<GpuId, Job>,
    begun: u64,
}

/// Threads at work, at most one per GPU.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers(Arc<Mutex<Jobs>>);

/// Work that was begun, to be waited for.
pub(crate) struct Begun<T> {
    gpu: GpuId,
    serial: u64,
    workers: Workers,
    answer: std::sync::mpsc::Receiver<T>,
}

/// Why there is no answer: what the GPU is occupied with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Occupied(pub(crate) String);

/// Frees the GPU also if the work panics.
struct Release(Workers, GpuId);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.lock().by_gpu.remove(&self.1);
    }
}

impl Workers {
    /// Begins `work` for a GPU.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        gpu: GpuId,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Begun<T>, Occupied> {
        let mut jobs = self.lock();
        if let Some(job) = jobs.by_gpu.get(&gpu) {
            return Err(Occupied(job.what.clone()));
        }
        let (sender, answer) = channel();
        let release = Release(self.clone(), gpu);
        jobs.begun += 1;
        let serial = jobs.begun;
        jobs.by_gpu.insert(gpu, Job { serial, what: what.to_owned(), overdue: false });
        drop(jobs);
        let thread = std::thread::Builder::new().name("headstart-gpu".into()).spawn(move || {
            let value = work();
            // Free before anybody hears of it, so that whoever hears can begin anew.
            drop(release);
            // Nobody waits any more: the next look tells.
            let _ = sender.send(value);
        });
        // On failure the closure is dropped, and the GPU is free again.
        thread.map_err(|error| Occupied(format!("no thread could be started: {error}")))?;
        Ok(Begun { gpu, serial, workers: self.clone(), answer })
    }

    /// What a GPU is occupied with beyond its deadline.
    pub(crate) fn overdue(&self, gpu: GpuId) -> Option<String> {
        self.lock().by_gpu.get(&gpu).filter(|job| job.overdue).map(|job| job.what.clone())
    }

    /// Whether a GPU is occupied.
    pub(crate) fn occupied(&self, gpu: GpuId) -> bool {
        self.lock().by_gpu.contains_key(&gpu)
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        // No code panics while it holds the lock; a map is whole in any case.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Begun<T> {
    /// Waits for the end of the work until `deadline`.
    pub(crate) fn wait(self, deadline: Instant) -> Result<T, Occupied> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.answer.recv_timeout(left.max(Duration::from_millis(1))) {
            Ok(value) => Ok(value),
            Err(RecvTimeoutError::Disconnected) => Err(Occupied("it ended without an answer".into())),
            Err(RecvTimeoutError::Timeout) => {
                let mut jobs = self.workers.lock();
                // It may have ended between the timeout and the lock; then the answer lies there.
                if let Ok(value) = self.answer.try_recv() {
                    return Ok(value);
                }
                let job = jobs.by_gpu.get_mut(&self.gpu).filter(|job| job.serial == self.serial);
                Err(job.map_or_else(
                    || Occupied("it ended just now".into()),
                    |job| {
                        job.overdue = true;
                        Occupied(job.what.clone())
                    },
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu() -> GpuId {
        "0000:3b:00.0".parse().unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(1)
    }

    #[test]
    fn what_hangs_occupies_its_gpu_until_it_returns() {
        let workers = Workers::default();
        let (let_go, wait) = channel::<()>();
        let begun = workers.begin(gpu(), "removing an mdev", move || wait.recv().is_ok()).unwrap();
        assert_eq!(workers.overdue(gpu()), None, "it is at work, and not late");
        assert_eq!(begun.wait(soon()), Err(Occupied("removing an mdev".into())));
        assert_eq!(workers.overdue(gpu()), Some("removing an mdev".into()));
        assert!(workers.begin(gpu(), "another", || ()).is_err());
        assert!(workers.begin("mbochs".parse().unwrap(), "another", || ()).is_ok(), "another GPU is free");
        let_go.send(()).unwrap();
        while workers.occupied(gpu()) {
            std::thread::yield_now();
        }
        assert_eq!(workers.overdue(gpu()), None);
    }

    #[test]
    fn an_answer_in_time_is_given_and_the_gpu_is_free_by_then() {
        let workers = Workers::default();
        for n in 0..100 {
            let begun = workers.begin(gpu(), "work", move || n).unwrap();
            assert_eq!(begun.wait(Instant::now() + Duration::from_secs(60)), Ok(n));
        }
    }
}
