//! Calls that a search found, each with what was wrong. Printed by it, and named.

use smallrtc::{AudioIdle, PacketTime};
use smallrtc_sim::Kind;
use smallrtc_sim::script::{Act, Network, Script};

/// Packets of SCTP that were cut in two filled the queue of DTLS, which holds ten datagrams, and
/// the call ended with `Internal`.
#[test]
fn a_thousand_short_messages_of_which_many_are_sent_again_do_not_end_the_call() {
    let acts = vec![
        Act::BotChatters { count: 8 },
        Act::Wait { ms: 1054 },
        Act::BotChatters { count: 1453 },
        Act::Wait { ms: 0 },
    ];
    let script = Script {
        down: Network { delay_ms: 1, loss_percent: 11, reorder_percent: 1, ..Network::CLEAN },
        acts,
        ..Script::new(Kind::Real, 25504)
    };
    script.run();
}

/// The engine filled a packet of RTCP to the brim, and then found it too long: it panics when its
/// MTU is a whole number of words. No page could be allowed to end a call so.
#[test]
fn hundreds_of_pictures_at_once_do_not_end_the_call() {
    for mtu in [576, 1150, 1200, 1500] {
        let acts = vec![
            Act::Wait { ms: 1899 },
            Act::PageFilms { count: 202, len: 4477 },
            Act::DriverIsLate { ms: 33, times: 3 },
        ];
        Script { mtu, acts, ..Script::new(Kind::Real, 0) }.run();
    }
}

/// A fault of the engine that cannot be fenced from outside (`twcc.rs`): it reports arrivals each
/// 50 ms, and panics when the report fills its packet with 19 bytes left for 14 small steps of
/// time. That takes hundreds of packets within 50 ms; it ends the call of the page that sent them,
/// and no other. When this call goes on, the engine has mended it: the bound of what pages film in
/// `calls/mod.rs` and the line in ARCHITECTURE.md can go.
#[test]
#[should_panic(expected = "left: Internal")]
fn a_report_of_arrivals_that_fills_its_packet_ends_the_call_of_its_page() {
    let up = Network {
        delay_ms: 1,
        jitter_ms: 37,
        loss_percent: 11,
        duplicate_percent: 3,
        ..Network::CLEAN
    };
    let acts = vec![
        Act::Wait { ms: 1500 },
        Act::PageFilms { count: 195, len: 6049 },
        Act::Wait { ms: 500 },
    ];
    Script { up, mtu: 576, acts, ..Script::new(Kind::Real, 677) }.run();
}

/// The limit of what waits is for a bot that does not listen; what was found was one not started.
#[test]
fn more_messages_at_once_than_may_wait_are_heard_by_a_bot_that_listens() {
    let acts = vec![Act::Wait { ms: 500 }, Act::PageChatters { count: 1025 }];
    for kind in Kind::ALL {
        Script { acts: acts.clone(), ..Script::new(kind, 0) }.run();
    }
}

/// Its page began anew while the links were broken, and its engine gave the handshake up 30 s after
/// it had begun it: nobody was there any more when the bot's call came to its end.
#[test]
fn a_page_that_gives_its_handshake_up_is_gone() {
    let acts = vec![
        Act::PageSpeaks { packets: 5 },
        Act::LinksBreak,
        Act::Wait { ms: 1402 },
        Act::Wait { ms: 2940 },
        Act::Wait { ms: 1293 },
        Act::Wait { ms: 1794 },
        Act::PageRestarts,
        Act::Wait { ms: 730 },
        Act::Wait { ms: 2131 },
        Act::Wait { ms: 989 },
        Act::BotSays { len: 1 },
    ];
    let down = Network {
        delay_ms: 35,
        jitter_ms: 53,
        loss_percent: 1,
        reorder_percent: 1,
        ..Network::CLEAN
    };
    Script { down, acts, ..Script::new(Kind::Real, 16_938) }.run();
}

/// What `a_call_that_was_found` is printed from: it differs from a plain call in everything.
pub(crate) fn printed() -> Script {
    Script {
        up: Network { delay_ms: 35, loss_percent: 3, ..Network::CLEAN },
        down: Network {
            delay_ms: 150,
            jitter_ms: 40,
            loss_percent: 10,
            duplicate_percent: 2,
            reorder_percent: 1,
            rate_kbit: Some(2_000),
        },
        mtu: 576,
        idle: AudioIdle::Dtx,
        packet_time: PacketTime::Ms60,
        starts: false,
        shuffles: true,
        dawdles: true,
        acts: vec![
            Act::BotStarts,
            Act::PageSpeaks { packets: 3 },
            Act::BotListens(false),
            Act::LinksAre(Network { rate_kbit: Some(500), ..Network::CLEAN }),
            Act::StrangerSends { len: 20, first: 22 },
            Act::BotSpeaks { samples: 4_000, rate: 16_000 },
            Act::LinksAre(Network::CLEAN),
            Act::PageHangsUp,
        ],
        ..Script::new(Kind::Scripted, 77)
    }
}
