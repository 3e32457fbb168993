//! What carries a packet across: a place for one answer, and a queue with one reader.
//!
//! Every coded packet of every call passes here twice, so both are a lock that is held for a few
//! instructions, and one waker: a wait allocates nothing, and an answer its place alone. Neither
//! has a limit of its own: a place holds one answer, and who fills a queue bounds it.
//!
//! No wake-up is lost: what there is to take and who waits for it are read and written under the
//! same lock. Nobody is woken under it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where the answer to a command goes. Dropped, it says that there will be none.
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Mutex<Place<T>>>);

/// Where an answer comes. Dropped, it says that nobody waits any more.
#[derive(Debug)]
pub(crate) struct Answered<T>(Arc<Mutex<Place<T>>>);

#[derive(Debug)]
struct Place<T> {
    answer: Option<T>,
    waker: Option<Waker>,
    /// The other side is gone.
    is_over: bool,
}

/// A place for one answer.
pub(crate) fn answer<T>() -> (Answer<T>, Answered<T>) {
    let place = Arc::new(Mutex::new(Place { answer: None, waker: None, is_over: false }));
    (Answer(Arc::clone(&place)), Answered(place))
}

impl<T> Answer<T> {
    /// Gives the answer; it goes nowhere when nobody waits any more.
    pub(crate) fn give(self, answer: T) {
        let mut place = locked(&self.0);
        if !place.is_over {
            place.answer = Some(answer);
        }
        // The end of `self`, which follows, wakes whoever waits.
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        locked(&self.0).is_over
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut place = locked(&self.0);
        place.is_over = true;
        let waker = place.waker.take();
        drop(place);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Answered<T> {
    /// The answer; `None` when there will be none.
    pub(crate) async fn wait(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut place = locked(&self.0);
        if place.answer.is_some() || place.is_over {
            return Poll::Ready(place.answer.take());
        }
        note(&mut place.waker, cx);
        Poll::Pending
    }
}

impl<T> Drop for Answered<T> {
    fn drop(&mut self) {
        let mut place = locked(&self.0);
        place.is_over = true;
        // It may be the last thing that keeps something alive, which is not to end under the lock.
        let unwanted = (place.answer.take(), place.waker.take());
        drop(place);
        drop(unwanted);
    }
}

/// A queue with one reader.
#[derive(Debug)]
pub(crate) struct Queue<T>(Mutex<Items<T>>);

#[derive(Debug)]
struct Items<T> {
    items: VecDeque<T>,
    waker: Option<Waker>,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Arc<Queue<T>> {
        Arc::new(Queue(Mutex::new(Items { items: VecDeque::new(), waker: None, is_closed: false })))
    }

    /// Puts something down and wakes the reader; nothing when the queue is closed.
    pub(crate) fn push(&self, item: T) {
        let mut queue = locked(&self.0);
        if queue.is_closed {
            return;
        }
        queue.items.push_back(item);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn pop(&self) -> Option<T> {
        locked(&self.0).items.pop_front()
    }

    /// The next one; `None` when the queue is closed and was read empty.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut queue = locked(&self.0);
        let item = queue.items.pop_front();
        if item.is_none() && !queue.is_closed {
            note(&mut queue.waker, cx);
            return Poll::Pending;
        }
        Poll::Ready(item)
    }

    pub(crate) fn len(&self) -> usize {
        locked(&self.0).items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait for the reader; `None` when the queue is closed.
    pub(crate) fn open_len(&self) -> Option<usize> {
        let queue = locked(&self.0);
        (!queue.is_closed).then(|| queue.items.len())
    }

    /// Takes nothing more; what is there can still be read.
    pub(crate) fn close(&self) {
        let mut queue = locked(&self.0);
        queue.is_closed = true;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Nothing is done under these locks that can panic half way, so that what they guard is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes who waits. A task that polls twice is noted once.
fn note(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// What a test waits at most for what must come.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn within_patience<T>(future: impl Future<Output = T>) -> T {
        let late = async {
            smol::Timer::after(PATIENCE).await;
            panic!("a wake-up was lost")
        };
        smol::block_on(smol::future::or(future, late))
    }

    #[test]
    fn an_answer_that_was_given_is_read_once_and_by_whoever_waits_later() {
        let (answer, mut answered) = super::answer();
        answer.give(7);
        assert_eq!(within_patience(answered.wait()), Some(7));
        assert_eq!(within_patience(answered.wait()), None);
    }

    #[test]
    fn an_answer_that_will_never_come_is_none() {
        let (answer, mut answered) = super::answer::<u8>();
        let waits = thread::spawn(move || within_patience(answered.wait()));
        drop(answer);
        assert_eq!(waits.join().unwrap(), None);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_dropped() {
        let (answer, answered) = super::answer();
        assert!(!answer.is_unwanted());
        drop(answered);
        assert!(answer.is_unwanted());
        let kept = Arc::new(());
        answer.give(Arc::clone(&kept));
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    /// The two sides on two threads, as fast as they can.
    #[test]
    fn no_wake_up_is_lost_between_a_question_and_its_answer() {
        const QUESTIONS: u32 = 50_000;
        let questions = Queue::new();
        let asked = Arc::clone(&questions);
        let answers = thread::spawn(move || {
            within_patience(async {
                let next = || poll_fn(|cx| asked.poll_pop(cx));
                let mut count = 0;
                while let Some((number, answer)) = next().await {
                    let answer: Answer<u32> = answer;
                    answer.give(number);
                    count += 1;
                }
                count
            })
        });
        within_patience(async {
            for number in 0..QUESTIONS {
                let (answer, mut answered) = super::answer();
                questions.push((number, answer));
                assert_eq!(answered.wait().await, Some(number));
            }
        });
        questions.close();
        assert_eq!(answers.join().unwrap(), QUESTIONS);
    }

    #[test]
    fn a_queue_that_was_closed_gives_what_is_in_it_and_takes_no_more() {
        let queue = Queue::new();
        queue.push(1);
        assert_eq!(queue.open_len(), Some(1));
        queue.close();
        queue.push(2);
        assert_eq!((queue.open_len(), queue.len()), (None, 1));
        assert_eq!(within_patience(poll_fn(|cx| queue.poll_pop(cx))), Some(1));
        assert_eq!(within_patience(poll_fn(|cx| queue.poll_pop(cx))), None);
        assert!(queue.is_empty() && queue.pop().is_none());
    }
}
