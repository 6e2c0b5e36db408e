//! A few threads for work that waits for a disk or keeps a core busy; a full queue makes callers
//! wait, which is the back-pressure.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Most jobs that wait for a thread; callers wait beyond.
const QUEUE_MAX: usize = 64;

/// Threads with a queue. They end when the last clone is dropped and the queue is empty.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    jobs: mpsc::Sender<Job>,
}

impl Pool {
    /// Starts `threads` threads called `name`.
    pub(crate) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    loop {
                        let mut waiting = queue.lock().unwrap_or_else(PoisonError::into_inner);
                        let job = waiting.blocking_recv();
                        drop(waiting);
                        match job {
                            Some(job) => job(),
                            None => break,
                        }
                    }
                })?;
        }
        Ok(Self { jobs })
    }

    /// Hands over a job; waits while the queue is full.
    pub(crate) async fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let sent = self.jobs.send(Box::new(job)).await;
        assert!(sent.is_ok(), "a pool's threads outlive its handles");
    }

    /// Carries out a job and gives its result.
    ///
    /// # Panics
    /// If the job did.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let pool = self.clone();
        async move {
            let (done, result) = oneshot::channel();
            // Nobody may be waiting any more.
            pool.submit(move || drop(done.send(job()))).await;
            result.await.expect("a job does not panic")
        }
    }
}
