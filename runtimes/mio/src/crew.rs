//! Drivers that run together, each on a thread.
//!
//! | what happens to one | the calls of the others |
//! | --- | --- |
//! | it ends, because it was closed or nothing is left to do | go on to their own end |
//! | it fails, or its application panics | end as `CloseReason::Internal` |

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tracing::error;

use crate::bell::Bell;
use crate::{App, Driver};

/// Runs the drivers of [`Driver::bind_shards`], the first on this thread and each other one on a
/// thread of its own, `smallrtc-1` and so on, until all have ended. Gives the applications back,
/// in order.
///
/// Who wants threads of other makes, pinned to cores, say, gives each driver to one and runs it
/// there; then one that fails ends no other.
///
/// ```
/// use smallrtc::{Config, Endpoint, Event, SessionId};
/// use smallrtc_mio::{App, Driver, Options, run_shards};
/// use std::time::Instant;
///
/// struct Bot(u16);
/// # impl App for Bot {
/// #     fn on_event(&mut self, _: SessionId, _: Event, _: &mut Endpoint, _: Instant) {}
/// # }
///
/// let options = Options::new().udp("127.0.0.1:0".parse()?).shards(2);
/// let (drivers, handle) = Driver::bind_shards(Config::new(), options, Bot)?;
/// let closing = std::thread::spawn(move || handle.close());
/// let bots = run_shards(drivers)?;
/// assert_eq!(bots.iter().map(|bot| bot.0).collect::<Vec<_>>(), [0, 1]);
/// # closing.join().expect("closing does not panic");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first error of [`Driver::run`], or a thread that cannot be started; the calls of all shards
/// end then, as `CloseReason::Internal`.
///
/// # Panics
/// When an application does, once all have ended.
pub fn run_shards<A: App + Send>(drivers: Vec<Driver<A>>) -> io::Result<Vec<A>> {
    let bells = drivers.iter().map(Driver::bell).collect();
    let fate = Arc::new(Fate::of(bells));
    let mut drivers = drivers.into_iter();
    let Some(first) = drivers.next() else { return Ok(Vec::new()) };
    let (own, others) = thread::scope(|scope| {
        let start = |driver: Driver<A>| {
            let name = format!("smallrtc-{}", driver.shard());
            let shared = Arc::clone(&fate);
            let thread = thread::Builder::new().name(name);
            let thread = thread.spawn_scoped(scope, move || run(driver, shared));
            thread.inspect_err(|_| fate.fail())
        };
        let threads: Vec<_> = drivers.map(start).collect();
        let own = run(first, Arc::clone(&fate));
        let ended = threads.into_iter().map(|thread| thread.map(|thread| thread.join()));
        (own, ended.collect::<Vec<_>>())
    });
    let mut apps = vec![own];
    let mut panicked = None;
    for ended in others {
        match ended {
            Ok(Ok(ended)) => apps.push(ended),
            Ok(Err(panic)) => panicked = panicked.or(Some(panic)),
            Err(error) => apps.push(Err(error)),
        }
    }
    match panicked {
        Some(panic) => resume_unwind(panic),
        None => apps.into_iter().collect(),
    }
}

/// Runs one of them; the others are told if that goes wrong, be it by a panic.
fn run<A: App>(driver: Driver<A>, fate: Arc<Fate>) -> io::Result<A> {
    let mut farewell = Farewell { fate: Arc::clone(&fate), is_well: false };
    let app = driver.run_with(fate).inspect_err(|error| error!(%error, "a shard failed"))?;
    farewell.is_well = true;
    Ok(app)
}

struct Farewell {
    fate: Arc<Fate>,
    is_well: bool,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if !self.is_well {
            self.fate.fail();
        }
    }
}

/// What drivers that run together know of each other.
#[derive(Debug)]
pub(crate) struct Fate {
    has_failed: AtomicBool,
    bells: Vec<Arc<Bell>>,
}

impl Fate {
    /// That of drivers which these bells wake.
    pub(crate) fn of(bells: Vec<Arc<Bell>>) -> Fate {
        Fate { has_failed: AtomicBool::new(false), bells }
    }

    /// Whether one of them has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    pub(crate) fn fail(&self) {
        self.has_failed.store(true, Ordering::Release);
        self.bells.iter().for_each(|bell| bell.ring());
    }
}
