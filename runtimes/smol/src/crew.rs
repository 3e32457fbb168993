//! The driver: its shards, and the threads that they run on.
//!
//! The first shard runs in the driver's own future, each other one on a thread. They end together:
//! by themselves when nothing is left to be done, and when one of them fails or panics, or the
//! future is dropped, all at once. Then every thread is waited for, so that sockets and ports are
//! free.
//!
//! | what happens | the calls of the other shards end as |
//! | --- | --- |
//! | a shard fails or panics | `CloseReason::Internal` |
//! | the future is dropped | `CloseReason::Application` |

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use async_channel::{Receiver, Sender};
use futures_lite::future;
use tracing::error;

use crate::driver::Shard;

/// Moves datagrams and time. Spawn [`Driver::run`]; when it is dropped every call ends, at once and
/// without a goodbye: use `Handle::close` before.
#[derive(Debug)]
#[must_use = "drivers must be spawned for I/O to occur"]
pub struct Driver {
    shards: Vec<Shard>,
}

impl Driver {
    pub(crate) fn new(shards: Vec<Shard>) -> Driver {
        Driver { shards }
    }

    /// Runs until `Handle::close` has ended, or until every handle is gone and every call has
    /// ended. The future is `Send`.
    ///
    /// Of several shards the first runs in this future, so give it a thread that does little else;
    /// each of the others has a thread of its own, `smallrtc-1` and so on. When this returns, or is
    /// dropped, they have ended.
    ///
    /// # Errors
    /// A socket or timer that cannot be waited for, or received from, any more, or a thread that
    /// cannot be started; the calls of all shards end then, as `CloseReason::Internal`. A send that
    /// fails is packet loss and no error.
    ///
    /// # Panics
    /// When a shard does, once the others have ended.
    pub async fn run(self) -> io::Result<()> {
        let mut shards = self.shards.into_iter();
        let Some(first) = shards.next() else { return Ok(()) };
        let mut crew = Crew::new();
        for shard in shards {
            let watch = crew.watch();
            let name = format!("smallrtc-{}", shard.number());
            crew.start(name, move || async_io::block_on(shard.run_with(watch)))?;
        }
        let watch = crew.watch();
        crew.run(first.run_with(watch)).await
    }

    /// The shards, to be run on threads of one's own: pinned to cores, say. Each must be
    /// [run](Shard::run) or dropped; one that is dropped takes no calls.
    ///
    /// ```
    /// use smallrtc::Config;
    /// use smallrtc_smol::{Options, bind};
    ///
    /// let options = Options::new().udp("127.0.0.1:0".parse()?).shards(2);
    /// let (driver, handle) = bind(Config::new(), options)?;
    /// let run = |shard: smallrtc_smol::Shard| std::thread::spawn(|| smol::block_on(shard.run()));
    /// let threads: Vec<_> = driver.into_shards().into_iter().map(run).collect();
    /// smol::block_on(handle.close());
    /// for thread in threads {
    ///     thread.join().expect("no shard panics")?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_shards(self) -> Vec<Shard> {
        self.shards
    }
}

/// Tells a shard that all are to end.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    over: Receiver<Infallible>,
    has_failed: Arc<AtomicBool>,
}

impl Watch {
    /// Comes when all are to end.
    pub(crate) async fn over(&self) {
        // Nothing is ever sent: the channel closes.
        let _ = self.over.recv().await;
    }

    /// Whether that is because one has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }
}

/// The threads of a driver.
struct Crew {
    threads: Vec<Option<JoinHandle<io::Result<()>>>>,
    /// Which thread has come to its end.
    ended: (Sender<usize>, Receiver<usize>),
    /// Closed when all are to end.
    end: Sender<Infallible>,
    watch: Watch,
}

/// Tells which thread has ended, be it by a panic.
struct Farewell(usize, Sender<usize>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.1.try_send(self.0);
    }
}

impl Crew {
    fn new() -> Crew {
        let (end, over) = async_channel::bounded(1);
        let watch = Watch { over, has_failed: Arc::new(AtomicBool::new(false)) };
        Crew { threads: Vec::new(), ended: async_channel::unbounded(), end, watch }
    }

    fn watch(&self) -> Watch {
        self.watch.clone()
    }

    fn start(
        &mut self,
        name: String,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let farewell = Farewell(self.threads.len(), self.ended.0.clone());
        let thread = thread::Builder::new().name(name).spawn(move || {
            let _farewell = farewell;
            body()
        });
        match thread {
            Ok(thread) => self.threads.push(Some(thread)),
            Err(error) => {
                self.fail();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs `own` beside the threads until all have ended; the first error of all.
    async fn run(mut self, own: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let watch = self.watch();
        let end = self.end.clone();
        let own = async {
            let ended = own.await;
            if let Err(error) = &ended {
                error!(%error, "a shard failed");
                fail(&watch, &end);
            }
            ended
        };
        let (own, (others, panicked)) = future::zip(own, self.join_all()).await;
        match panicked {
            Some(panic) => panic::resume_unwind(panic),
            None => own.and(others),
        }
    }

    /// The first error, and the first panic.
    async fn join_all(&mut self) -> (io::Result<()>, Option<Box<dyn Any + Send>>) {
        let (mut result, mut panicked) = (Ok(()), None);
        for _ in 0..self.threads.len() {
            let Ok(index) = self.ended.1.recv().await else { break };
            // It has said farewell, so this takes no longer than the end of a thread does.
            match self.threads[index].take().map(JoinHandle::join) {
                None | Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    error!(%error, "a shard failed");
                    self.fail();
                    result = result.and(Err(error));
                }
                Some(Err(panic)) => {
                    self.fail();
                    panicked = panicked.or(Some(panic));
                }
            }
        }
        (result, panicked)
    }

    fn fail(&self) {
        fail(&self.watch, &self.end);
    }
}

/// All are to end, because one has failed.
fn fail(watch: &Watch, end: &Sender<Infallible>) {
    watch.has_failed.store(true, Ordering::SeqCst);
    end.close();
}

impl Drop for Crew {
    fn drop(&mut self) {
        if thread::panicking() {
            self.watch.has_failed.store(true, Ordering::SeqCst);
        }
        self.end.close();
        for thread in self.threads.iter_mut().filter_map(Option::take) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Handle, Options, Received, bind};
    use smallrtc::{CloseReason, Config};

    /// What a test waits at most for what must come.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn within_patience<T>(future: impl Future<Output = T>) -> T {
        let late = async {
            smol::Timer::after(PATIENCE).await;
            panic!("not in time")
        };
        smol::block_on(future::or(future, late))
    }

    /// Waits until all are to end; whether that is because one failed.
    fn until_over(watch: &Watch) -> bool {
        within_patience(watch.over());
        watch.has_failed()
    }

    /// A crew with a thread that only waits for the end, and how that ended.
    fn waiting() -> (Crew, Receiver<bool>) {
        let mut crew = Crew::new();
        let (told, tells) = async_channel::bounded(1);
        let watch = crew.watch();
        let wait = move || {
            let _ = told.try_send(until_over(&watch));
            Ok(())
        };
        crew.start("waits".to_owned(), wait).unwrap();
        (crew, tells)
    }

    fn broken() -> io::Result<()> {
        Err(io::Error::other("broken"))
    }

    #[test]
    fn a_thread_that_fails_ends_the_others_and_its_error_is_given() {
        let (mut crew, tells) = waiting();
        crew.start("fails".to_owned(), broken).unwrap();
        let watch = crew.watch();
        let own = async {
            watch.over().await;
            Ok(())
        };
        let error = within_patience(crew.run(own)).unwrap_err();
        assert_eq!(error.to_string(), "broken");
        assert_eq!(tells.try_recv(), Ok(true), "it was told, and waited for");
    }

    #[test]
    fn a_first_shard_that_fails_ends_the_threads() {
        let (crew, tells) = waiting();
        let error = within_patience(crew.run(async { broken() })).unwrap_err();
        assert_eq!(error.to_string(), "broken");
        assert_eq!(tells.try_recv(), Ok(true));
    }

    #[test]
    fn a_thread_that_panics_ends_the_others_and_its_panic_goes_on() {
        let (mut crew, tells) = waiting();
        crew.start("panics".to_owned(), || panic!("a shard panicked")).unwrap();
        let watch = crew.watch();
        let own = async {
            watch.over().await;
            Ok(())
        };
        let run = panic::AssertUnwindSafe(move || within_patience(crew.run(own)));
        let panic = panic::catch_unwind(run).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a shard panicked"));
        assert_eq!(tells.try_recv(), Ok(true));
    }

    #[test]
    fn a_future_that_is_dropped_ends_its_threads_without_a_failure() {
        let (crew, tells) = waiting();
        let mut run = Box::pin(crew.run(future::pending()));
        assert!(smol::block_on(future::poll_once(run.as_mut())).is_none());
        assert!(tells.is_empty());
        drop(run);
        assert_eq!(tells.try_recv(), Ok(false), "it has ended");
    }

    fn call(handle: &Handle) -> crate::Peer {
        let offer = smallrtc_sim::fuzz::OFFER;
        let body = serde_json::json!({ "type": "offer", "sdp": offer }).to_string();
        let response = handle.request("POST", "/api/offer", body.as_bytes());
        assert_eq!(within_patience(response).status, 200);
        within_patience(handle.accept()).unwrap()
    }

    /// What comes last.
    fn last_of(peer: &mut crate::Peer) -> Option<Received> {
        let mut last = None;
        while let Some(received) = within_patience(peer.recv()) {
            last = Some(received);
        }
        last
    }

    #[cfg(unix)]
    #[test]
    fn a_shard_whose_socket_fails_ends_the_calls_of_the_others_as_internal() {
        let options = Options::new().udp("127.0.0.1:0".parse().unwrap()).shards(2);
        let (driver, handle) = bind(Config::new(), options).unwrap();
        let mut shards = driver.into_shards();
        let mut crew = Crew::new();
        let (second, watch) = (shards.pop().unwrap(), crew.watch());
        let body = move || async_io::block_on(second.run_with(watch));
        crew.start("second".to_owned(), body).unwrap();
        // The first one begins when the second has a call, and finds its socket broken.
        let (mut first, watch) = (shards.pop().unwrap(), crew.watch());
        first.break_socket().unwrap();
        let (begin, begins) = async_channel::bounded::<()>(1);
        let own = async move {
            let _ = begins.recv().await;
            first.run_with(watch).await
        };
        let runs = thread::spawn(move || async_io::block_on(crew.run(own)));
        let mut waiting = Box::pin(handle.request("GET", "/", b""));
        assert!(smol::block_on(future::poll_once(waiting.as_mut())).is_none());
        let mut peer = call(&handle);
        assert_eq!(peer.shard(), 1, "a request is on its way to the first");
        begin.try_send(()).unwrap();
        assert_eq!(last_of(&mut peer), Some(Received::Closed(CloseReason::Internal)));
        assert_eq!(runs.join().unwrap().unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(within_patience(waiting).status, 503);
        assert!(within_patience(handle.accept()).is_none());
        assert_eq!(within_patience(handle.shard_stats()), [None, None]);
    }

    #[test]
    fn a_driver_that_is_dropped_ends_the_calls_of_every_thread() {
        let options = Options::new().udp("127.0.0.1:0".parse().unwrap()).shards(2);
        let (driver, handle) = bind(Config::new(), options).unwrap();
        let (stop, stops) = async_channel::bounded::<()>(1);
        let until_stopped = async move {
            let _ = stops.recv().await;
            Ok(())
        };
        let runs =
            thread::spawn(move || async_io::block_on(future::or(driver.run(), until_stopped)));
        let peers = [call(&handle), call(&handle)];
        assert_eq!(peers.each_ref().map(crate::Peer::shard), [0, 1]);
        stop.try_send(()).unwrap();
        assert!(runs.join().unwrap().is_ok());
        for mut peer in peers {
            assert_eq!(last_of(&mut peer), Some(Received::Closed(CloseReason::Application)));
        }
    }
}
