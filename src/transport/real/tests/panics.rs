//! A panic in the engine is kept inside its session.

use super::pair::{BROWSER, Pair, address, audio, credentials, frame_of};
use crate::transport::real::fenced;
use crate::transport::{ChannelId, ChannelWritten, MediaWritten, Transport, TransportEvent};
use crate::{Config, Datagram, NegotiateError, Offer, TransportId};

#[test]
fn a_panic_in_the_engine_is_a_fault_of_its_session_and_nothing_works_afterwards() {
    let mut pair = Pair::new(&Config::new(), 1);
    let (offer, _) = pair.browser.offer(|api| {
        audio(api);
    });
    pair.offered(&offer).unwrap();
    while pair.bot.poll_event().is_some() {}
    let nothing = pair.bot.run(pair.now, |_| -> () { panic!("a bug of the engine") });
    assert_eq!(nothing, None);
    let fault = TransportEvent::Fault("the engine panicked".to_owned());
    assert_eq!(pair.bot.poll_event(), Some(fault));
    let (now, bot) = (pair.now, &mut pair.bot);
    let offer = Offer::parse(&offer).unwrap();
    assert_eq!(bot.accept_offer(&offer, credentials(1), now), Err(NegotiateError::Closed));
    assert_eq!(bot.write_media(&frame_of(0, b"sound"), now), MediaWritten::NotReady);
    assert_eq!(bot.write_channel(ChannelId(0), false, b"x", now), ChannelWritten::Gone);
    assert_eq!(bot.buffered_amount(ChannelId(0)), 0);
    let local = address(super::pair::BOT);
    let payload = vec![22; 60].into();
    let datagram = Datagram::udp(TransportId(3), address(BROWSER), local, payload);
    let _ = bot.handle_datagram(datagram, now);
    bot.handle_timeout(now);
    bot.close(now);
    assert_eq!(bot.poll_event(), None, "one fault is enough");
}

#[test]
fn a_panic_over_text_of_the_peers_is_a_refusal() {
    let refused = fenced::<()>(|| panic!("a bug of the engine")).unwrap_err();
    let text = "sdp: the engine cannot read it (expected a WebRTC offer)";
    assert_eq!(refused.to_string(), text);
    assert_eq!(fenced(|| Ok(7)), Ok(7));
}
