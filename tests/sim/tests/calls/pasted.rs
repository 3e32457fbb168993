//! A script as it was printed, and nothing else: that it compiles is the test.

#[test]
fn a_call_that_was_found() {
    use smallrtc::{AudioIdle, PacketTime};
    use smallrtc_sim::Kind;
    use smallrtc_sim::script::{Act, Network, Script};

    let acts = vec![
        Act::BotStarts,
        Act::PageSpeaks { packets: 3 },
        Act::BotListens(false),
        Act::LinksAre(Network { rate_kbit: Some(500), ..Network::CLEAN }),
        Act::StrangerSends { len: 20, first: 22 },
        Act::BotSpeaks { samples: 4000, rate: 16000 },
        Act::LinksAre(Network::CLEAN),
        Act::PageHangsUp,
    ];
    let script = Script {
        up: Network { delay_ms: 35, loss_percent: 3, ..Network::CLEAN },
        down: Network {
            delay_ms: 150,
            jitter_ms: 40,
            loss_percent: 10,
            duplicate_percent: 2,
            reorder_percent: 1,
            rate_kbit: Some(2000),
        },
        mtu: 576,
        idle: AudioIdle::Dtx,
        packet_time: PacketTime::Ms60,
        starts: false,
        shuffles: true,
        dawdles: true,
        acts,
        ..Script::new(Kind::Scripted, 77)
    };
    script.run();
}
