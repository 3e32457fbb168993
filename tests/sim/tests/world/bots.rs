//! Bots in the shapes that users write them in, unchanged.

use std::time::{Duration, Instant};

use smallrtc::{AudioFrame, ConnectionState, Endpoint, Event, Message, Session, SessionId};
use smallrtc_mio::App;
use smallrtc_sim::{Bot, Kind, LinkConfig, NatConfig, NatKind, Pair, Setup, World};

use crate::{connect, on_both_wires, seconds};

/// An application of the mio driver, as it runs in production: counts the seconds of a call.
#[derive(Default)]
struct Counter {
    call: Option<SessionId>,
    next: Option<Instant>,
    count: u64,
}

impl App for Counter {
    fn on_event(&mut self, id: SessionId, event: Event, _: &mut Endpoint, now: Instant) {
        match event {
            Event::StateChanged(ConnectionState::Connected) if self.call.is_none() => {
                (self.call, self.next) = (Some(id), Some(now + Duration::from_secs(1)));
            }
            Event::Closed { .. } => self.next = None,
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn handle_timeout(&mut self, core: &mut Endpoint, now: Instant) {
        self.next = self.next.map(|next| next + Duration::from_secs(1));
        self.count += 1;
        if let Some(mut call) = self.call.and_then(|id| core.session(id)) {
            call.send_message(Message::text(format!("second {}", self.count)), now).ok();
        }
    }
}

/// Passes the simulation's calls on to an application of mio.
struct Hosted<A>(A);

impl<A: App> Bot<Endpoint> for Hosted<A> {
    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        self.0.on_event(id, event, core, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn handle_timeout(&mut self, core: &mut Endpoint, now: Instant) {
        self.0.handle_timeout(core, now);
    }
}

#[test]
fn an_app_of_mio_runs_as_it_is() {
    on_both_wires("an_app_of_mio_runs_as_it_is", 2, |kind, seed| {
        let setup =
            Setup::new(kind, seed).links(LinkConfig::bad()).nat(NatConfig::new(NatKind::Cone));
        let mut world = World::new(setup);
        world.set_bot(Hosted(Counter::default()));
        let number = connect(&mut world, 1)[0];
        world.drive_for(seconds(20));
        let heard = world.outcome(number).browser_messages();
        let words: Vec<_> = (1..=10).map(|count| format!("second {count}")).collect();
        let counted = heard.into_iter().filter(|message| message.starts_with("second"));
        assert_eq!(counted.take(10).collect::<Vec<_>>(), words, "{kind:?}");
        world.trace
    });
}

/// What an event loop does over one session.
fn echo(event: Event, session: &mut Session, now: Instant) {
    match event {
        Event::Message(message) => drop(session.send_message(message, now)),
        Event::AudioReadable(track) => {
            let mut samples = [0; 5_760];
            while let Some(block) = session.recv_audio(track, &mut samples) {
                let frame = AudioFrame::mono(&samples[..block.samples], block.rate);
                session.send_audio(frame, now).ok();
            }
        }
        _ => {}
    }
}

#[test]
fn the_body_of_a_loop_over_one_session_runs_as_it_is() {
    on_both_wires("the_body_of_a_loop_over_one_session_runs_as_it_is", 2, |kind, seed| {
        let mut pair = Pair::new(Setup::new(kind, seed).links(LinkConfig::bad()));
        pair.set_bot(|(), event: Event, session: &mut Session, now: Instant| {
            echo(event, session, now);
        });
        pair.connect();
        let now = pair.now();
        assert!(pair.browser.send_text("hello", now));
        pair.browser.speak(crate::speech(), now);
        pair.drive_for(seconds(5));
        assert!(pair.browser_messages().contains(&"hello".to_owned()));
        assert!(pair.session.stats().audio_packets_received > 200);
        pair.trace.clone()
    });
}

#[test]
fn the_bot_of_each_endpoint_hears_its_own_calls() {
    on_both_wires("the_bot_of_each_endpoint_hears_its_own_calls", 1, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed).places(&[(0, 0), (0, 1)]));
        for endpoint in 0..2 {
            let name = format!("endpoint {endpoint}");
            world.set_bot_at(
                endpoint,
                move |id: SessionId, event: Event, core: &mut Endpoint, now: Instant| {
                    if let (Event::Message(_), Some(mut call)) = (event, core.session(id)) {
                        call.send_message(Message::text(&name), now).ok();
                    }
                },
            );
        }
        let numbers = connect(&mut world, 4);
        for number in &numbers {
            let now = world.now();
            assert!(world.browser(*number).send_text("who are you", now));
        }
        world.drive_for(seconds(1));
        for number in numbers {
            let outcome = world.outcome(number);
            let name = format!("endpoint {}", outcome.endpoint);
            assert!(outcome.browser_messages().contains(&name), "{kind:?}");
        }
        world.trace
    });
}

struct Stubborn(Instant);

impl Bot<Session> for Stubborn {
    fn on_event(&mut self, (): (), _: Event, _: &mut Session, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.0)
    }
}

#[test]
#[should_panic(expected = "the bot's deadline does not move on")]
fn a_bot_whose_deadline_stays_in_the_past_is_caught() {
    let mut pair = Pair::new(Setup::new(Kind::Scripted, 1).unrecorded());
    pair.set_bot(Stubborn(smallrtc_sim::start() + seconds(1)));
    pair.connect();
    pair.drive_for(seconds(2));
}
