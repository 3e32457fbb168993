//! What a later offer brings that the first did not have.

use std::time::Duration;

use super::pair::{Pair, audio};
use crate::Config;
use crate::transport::{ChannelId, ChannelWritten, TransportEvent};

#[test]
fn a_channel_that_a_later_offer_brings_opens_and_carries_messages_both_ways() {
    let mut pair = Pair::new(&Config::new(), 1);
    pair.negotiate(|api| {
        audio(api);
    });
    pair.run_for(Duration::from_secs(1));
    pair.bot_speaks(0..5);
    pair.negotiate(|api| {
        api.add_channel("late".to_owned());
    });
    pair.run_for(Duration::from_secs(2));
    let opened = TransportEvent::ChannelOpen(ChannelId(0), "late".to_owned());
    assert_eq!(pair.count(|event| *event == opened), 1);
    let now = pair.now;
    let written = crate::transport::Transport::write_channel(
        &mut pair.bot,
        ChannelId(0),
        false,
        b"from the bot",
        now,
    );
    assert_eq!(written, ChannelWritten::Taken);
    let channel = pair.browser.channel();
    pair.browser_do(|rtc| {
        assert!(rtc.channel(channel).unwrap().write(true, b"from the page").unwrap());
    });
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.browser.messages(), [(false, &b"from the bot"[..])]);
    let heard = TransportEvent::ChannelData(ChannelId(0), true, b"from the page".to_vec());
    assert_eq!(pair.count(|event| *event == heard), 1);
    pair.bot_speaks(5..10);
    assert_eq!(pair.browser.media().len(), 10, "the sound went on");
}
