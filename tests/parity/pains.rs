//! What users of SmallWebRTC and of aiortc below it complained of, and the test that shows it is
//! not so here. What concerns players, recorders and relays is not a call's, and not in this list.

/// A complaint.
#[derive(Debug)]
pub(crate) struct Pain {
    /// Where it was made; in pipecat-ai/pipecat unless another repository is named.
    pub(crate) told: &'static str,
    pub(crate) symptom: &'static str,
    pub(crate) here: &'static str,
    /// The test's file, and its name.
    pub(crate) test: (&'static str, &'static str),
}

const fn pain(
    told: &'static str,
    symptom: &'static str,
    here: &'static str,
    test: (&'static str, &'static str),
) -> Pain {
    Pain { told, symptom, here, test }
}

pub(crate) const PAINS: &[Pain] = &[
    pain(
        "#1808, aioice#47, pipecat-esp32#12",
        "never connects from a container or a cloud: ports cannot be chosen, no public address",
        "one port for all calls; `--advertise` tells the public address",
        ("tests/sim/tests/connect.rs", "a_bot_behind_a_mapped_address_is_reached_there_alone"),
    ),
    pain(
        "aiortc#1397",
        "a relay alone may be used, and no other address may be told",
        "the client's policy is its own; the bot tells the addresses that it was given",
        ("tests/sim/tests/connect.rs", "a_bot_behind_a_mapped_address_is_reached_there_alone"),
    ),
    pain(
        "#1570, #2426, #1573",
        "STUN and TURN have no effect",
        "all ICE servers reach the client by `/start`",
        ("tests/parity/connection.rs", "c1_all_ice_servers_are_handed_to_the_client"),
    ),
    pain(
        "#3140, aiortc#186, #225, #359, #424, #469, PR 465",
        "a peer that is gone is noticed after half a minute or never",
        "told after 5 s, ended after 20 s, from every state",
        ("tests/sim/tests/endings.rs", "wherever_a_call_stands_silence_ends_it_once_and_in_time"),
    ),
    pain(
        "#1530, aiortc#1356, #1357, #483",
        "choppy sound, noise and bursts when sound is written in other pieces than 20 ms",
        "any piece, paced by the session",
        ("tests/parity/audio.rs", "a1_sound_of_any_length_is_taken_and_none_is_refused"),
    ),
    pain(
        "#1559, aiortc#104, #1192, #160, #749",
        "sound and pictures lag more and more, because frames pile up",
        "queues have limits, and reading begins with now",
        (
            "tests/parity/tracks.rs",
            "t3_what_nobody_reads_for_2_s_is_discarded_and_reading_begins_with_now",
        ),
    ),
    pain(
        "PR 2682, #3066, aiortc#554",
        "memory grows while a track is not read",
        "what nobody reads is discarded undecoded",
        (
            "tests/sim/tests/pictures.rs",
            "pictures_that_nobody_reads_are_discarded_without_a_word_to_the_peer",
        ),
    ),
    pain(
        "#3378, #764, #1602, #1654, aiortc#378, #744, #1155, #1310",
        "more than two calls in a process lag and jitter",
        "a thousand behind one socket, a loop a core",
        (
            "tests/sim/tests/endpoint.rs",
            "a_thousand_calls_behind_one_socket_hear_their_own_words_and_end",
        ),
    ),
    pain(
        "#1369, #1135",
        "whoever blocks the loop stops the sound, which comes in a burst then",
        "a stall slips, nothing bursts and no word is dropped",
        (
            "tests/sim/tests/pacing.rs",
            "a_driver_that_was_away_slips_without_a_burst_and_no_word_is_lost",
        ),
    ),
    pain(
        "PR 4358, aiortc PR 1441, webrtc-rs/webrtc#806, webrtc-rs/rtc#178, pion/sctp PR 476, werift-webrtc#708",
        "messages stop for ever on a path of 1280 bytes",
        "no datagram is above the MTU",
        (
            "tests/sim/tests/mtu.rs",
            "a_path_of_just_the_mtu_carries_a_call_with_big_messages_both_ways",
        ),
    ),
    pain(
        "PR 3962, PR 5112, aiortc#1194",
        "messages before the channel opens, or just after it, are lost",
        "50 wait, in order; those that come wait for the application",
        ("tests/sim/tests/messages.rs", "messages_wait_for_the_channel_and_are_flushed_in_order"),
    ),
    pain(
        "#3485",
        "`pc_id`s collide: a client gets another's call",
        "128 random bits, the shard in front",
        ("tests/parity/connection.rs", "c2_names_of_calls_are_as_the_originals_and_never_the_same"),
    ),
    pain(
        "pipecat-client-web-transports#169",
        "the client reconnects without end",
        "a restart is heard within half a second, and the old call is gone",
        (
            "tests/sim/tests/clients.rs",
            "the_javascript_client_restarts_after_10_s_and_is_heard_within_half_a_second",
        ),
    ),
    pain(
        "#2818",
        "candidates: the client waits for all of them, or connects slowly",
        "candidates are taken before the checks, behind them, and not at all",
        (
            "tests/sim/tests/clients.rs",
            "candidates_before_the_answer_do_no_harm_and_each_new_connection_is_heard",
        ),
    ),
    pain(
        "#2755",
        "a microphone that is off from the start: a warning every 2 s",
        "the flag is told once, and nothing waits",
        (
            "tests/sim/tests/endings.rs",
            "an_hour_of_a_muted_client_without_sound_at_five_percent_loss_is_never_disconnected",
        ),
    ),
    pain(
        "PR 5126",
        "Firefox's empty candidate: 500",
        "an empty one is the end of candidates",
        ("tests/parity/inputs.rs", "h7_unknown_fields_no_candidates_and_names_of_mdns_are_fine"),
    ),
    pain(
        "PR 5115, PR 3713",
        "sound of 48 kHz, 8 kHz or stereo comes as noise",
        "the reader's rate and channels, to the sample",
        (
            "tests/parity/transport.rs",
            "x2_sound_comes_at_the_readers_rate_and_lost_packets_take_their_time",
        ),
    ),
    pain(
        "PR 3645",
        "packets of 40 ms are asked for, 20 ms are sent",
        "10, 20, 40 and 60 ms are kept",
        (
            "tests/sim/tests/pacing.rs",
            "packet_times_of_ten_forty_and_sixty_milliseconds_are_kept_as_exactly",
        ),
    ),
    pain(
        "#3985, PR 5506, #1622, #3872",
        "a click at an interruption, the bot goes on speaking, nothing clears what is queued",
        "`clear_audio`: a fade, and no speech after it",
        (
            "tests/parity/audio.rs",
            "a7_after_an_interruption_no_speech_leaves_and_what_left_is_told",
        ),
    ),
    pain(
        "PR 2446, pipecat-client-web-transports PR 39, #2632",
        "a shared screen stays black",
        "a screen that is added later is taken, its keyframe asked for",
        (
            "tests/sim/tests/rules_negotiation.rs",
            "a_screen_that_is_added_later_is_the_screen_and_nothing_else_changes",
        ),
    ),
    pain(
        "PR 1579, PR 2654",
        "a call without pictures fails",
        "sound, pictures and messages, each without the others",
        (
            "tests/parity/connection.rs",
            "c8_a_call_without_pictures_without_sound_or_without_a_channel_connects",
        ),
    ),
    pain(
        "PR 1902",
        "the client is told to have gone when the bot left",
        "the end says who",
        ("tests/parity/transport.rs", "x8_the_end_says_who_ended_it"),
    ),
    pain(
        "PR 3741",
        "a page cannot come back without being loaded anew",
        "it calls again, and its old call leaves nothing",
        (
            "runtimes/server/tests/cycles.rs",
            "a_thousand_calls_leave_no_session_no_memory_no_descriptor_and_no_thread",
        ),
    ),
    pain(
        "aiortc#330, #283, aioice#12, streamlit-webrtc PR 2561",
        "a call that failed or closes hangs, or keeps threads",
        "every call ends in time, and the server with its last",
        (
            "runtimes/server/tests/server/life.rs",
            "a_server_with_a_caller_that_never_comes_ends_within_its_bounds",
        ),
    ),
    pain(
        "aiortc#402, #906, #1159",
        "the rate and size of pictures cannot be set",
        "whoever codes chooses",
        ("tests/parity/audio.rs", "v2_whoever_codes_chooses_the_rate_and_hears_of_wishes"),
    ),
    pain(
        "aiortc#36",
        "messages at 5 Mbit/s",
        "a window by the round trip; `cargo bench -p smallrtc-sim --bench messages` measures it",
        ("tests/sim/tests/messages.rs", "a_full_channel_refuses_and_tells_when_there_is_room"),
    ),
    pain(
        "aioice#77, #81",
        "a name of mDNS that cannot be resolved crashes the bot",
        "names are passed over: the client's own check tells its address",
        ("tests/parity/inputs.rs", "h7_unknown_fields_no_candidates_and_names_of_mdns_are_fine"),
    ),
];
