//! What is another way in a replay than in the log is found, and found where it is.

use super::*;

/// What a step is, without its numbers.
fn name(crossing: &Crossing) -> String {
    let text = match crossing {
        Crossing::Heard(heard) => format!("Heard {heard:?}"),
        Crossing::Returned(Value::Event(told)) => format!("Event {told:?}"),
        Crossing::Returned(value) => format!("Returned {value:?}"),
        crossing => format!("{crossing:?}"),
    };
    let end = text.match_indices([' ', '(', '{']).map(|(at, _)| at).find(|at| *at > 10);
    text[..end.unwrap_or(text.len())].trim_end().to_owned()
}

/// The first step of each name, and where it stands.
fn kinds(log: &Log) -> Vec<(String, usize, usize)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (index, record) in log.records.iter().enumerate() {
        for (step, crossing) in record.crossings.iter().enumerate() {
            let name = name(crossing);
            if seen.insert(name.clone()) {
                found.push((name, index, step));
            }
        }
    }
    found
}

/// What a session may miss and do the same: news of ICE, of which it only writes to the program's
/// log; an acknowledgement, which comes in a datagram that was a sign of life itself; figures,
/// which it passes on; a datagram that goes out; what the transport wants next.
const OF_NO_CONSEQUENCE: [&str; 7] = [
    "Heard IceConnected",
    "Heard IceDisconnected",
    "Heard BufferedAmountLow",
    "Heard Stats",
    "Transmit",
    "Wants",
    "DeadlineUnseen",
];

#[test]
fn a_step_that_is_missing_is_a_difference_whatever_it_is() {
    for detail in [Detail::Sizes, Detail::Full] {
        let log = plain(detail, detail);
        let mut silent = Vec::new();
        let kinds = kinds(&log);
        assert!(kinds.len() > 35, "{kinds:?}");
        for (name, index, step) in kinds {
            let mut without = log.clone();
            let removed = without.records[index].crossings.remove(step);
            let replay = replay(&without, origin()).unwrap();
            let Some(difference) = replay.difference else {
                silent.push(name);
                continue;
            };
            assert!(difference.record > index, "{name}: {difference}");
            if removed.is_decision() {
                assert_eq!(difference.record, index + 1, "{name}: {difference}");
                assert_eq!(replay.calls as usize, calls_before(&log, index), "{name}");
            }
        }
        silent.retain(|name| !OF_NO_CONSEQUENCE.iter().any(|known| name.starts_with(known)));
        assert_eq!(silent, [""; 0], "{detail:?}");
    }
}

fn calls_before(log: &Log, index: usize) -> usize {
    let before = log.records[..index].iter();
    before.filter(|record| matches!(record.entry, Entry::Call { .. })).count()
}

/// Changes of one number each, in steps in which the session decides what stands there.
const CHANGES: [fn(&mut Crossing); 22] = {
    use Crossing as C;
    [
        |step| {
            if let C::Offer { fresh, .. } = step {
                fresh.push('x')
            }
        },
        |step| {
            if let C::Media { line, .. } = step {
                *line += 1
            }
        },
        |step| {
            if let C::Media { codec, .. } = step {
                *codec += 1
            }
        },
        |step| {
            if let C::Media { rtp_time, .. } = step {
                *rtp_time += 1
            }
        },
        |step| {
            if let C::Media { talkspurt, .. } = step {
                *talkspurt = !*talkspurt
            }
        },
        |step| {
            if let C::Media { redundant, .. } = step {
                *redundant = !*redundant
            }
        },
        |step| {
            if let C::Media { voice, .. } = step {
                *voice = voice.xor(Some(true))
            }
        },
        |step| {
            if let C::Keyframe { line } = step {
                *line += 1
            }
        },
        |step| {
            if let C::Message { channel, .. } = step {
                *channel += 1
            }
        },
        |step| {
            if let C::Message { binary, .. } = step {
                *binary = binary.map(|is| !is)
            }
        },
        |step| {
            if let C::Message { len, .. } = step {
                *len += 1
            }
        },
        |step| {
            if let C::Message { digest, .. } = step {
                *digest = digest.map(|sum| sum ^ 1)
            }
        },
        |step| {
            if let C::Buffered { channel, .. } = step {
                *channel += 1
            }
        },
        |step| {
            if let C::Threshold { channel, .. } = step {
                *channel += 1
            }
        },
        |step| {
            if let C::Threshold { threshold, .. } = step {
                *threshold += 1
            }
        },
        |step| {
            if let C::Encoded { samples, .. } = step {
                *samples += 1
            }
        },
        |step| {
            if let C::Encoded { digest, .. } = step {
                *digest = digest.map(|sum| sum ^ 1)
            }
        },
        |step| {
            if let C::Decoded { digest, .. } = step {
                *digest = digest.map(|sum| sum ^ 1)
            }
        },
        |step| {
            if let C::Concealed { frames, .. } = step {
                *frames += 1
            }
        },
        |step| {
            if let C::Copied(frames) = step {
                *frames ^= 960
            }
        },
        |step| {
            if let C::Repaired { digest, .. } = step {
                *digest = digest.map(|sum| sum ^ 1)
            }
        },
        |step| {
            if let C::Deadline(offset) = step {
                *offset = offset.map(|at| at + 1)
            }
        },
    ]
};

/// Steps that say something else.
fn others(crossing: &Crossing) -> Vec<Crossing> {
    if let Crossing::Returned(value) = crossing {
        return other_values(value).into_iter().map(Crossing::Returned).collect();
    }
    let changed = CHANGES.map(|change| {
        let mut other = crossing.clone();
        change(&mut other);
        other
    });
    changed.into_iter().filter(|other| other != crossing).collect()
}

fn other_values(value: &Value) -> Vec<Value> {
    match value.clone() {
        Value::Done => vec![Value::Error("Closed".to_owned())],
        Value::Error(text) => vec![Value::Error(format!("{text}.")), Value::Done],
        Value::Message { sent } => vec![Value::Message { sent: !sent }],
        Value::AudioId(id) => vec![Value::AudioId(id + 1)],
        Value::Cleared(mut pieces) => {
            pieces.push((1, 2, 3));
            vec![Value::Cleared(pieces)]
        }
        Value::ClearedPieces(mut pieces) => {
            pieces.push((1, 2, 3, 4, 5));
            vec![Value::ClearedPieces(pieces)]
        }
        Value::Audio { samples, time, origin, level, digest } => vec![
            Value::Audio { samples: samples + 1, time, origin, level, digest },
            Value::Audio { samples, time: time + 1, origin, level, digest },
            Value::Audio { samples, time, origin: origin + 1, level, digest },
            Value::Audio { samples, time, origin, level: Some((1, level.is_none())), digest },
            Value::Audio { samples, time, origin, level, digest: digest.map_or(Some(1), |_| None) },
        ],
        Value::Encoded { codec, time, keyframe, contiguous, len, digest } => vec![
            Value::Encoded { codec: codec + 1, time, keyframe, contiguous, len, digest },
            Value::Encoded { codec, time: time + 1, keyframe, contiguous, len, digest },
            Value::Encoded { codec, time, keyframe: !keyframe, contiguous, len, digest },
            Value::Encoded { codec, time, keyframe, contiguous: !contiguous, len, digest },
            Value::Encoded { codec, time, keyframe, contiguous, len: None, digest },
        ],
        Value::Event(_) => vec![Value::Event(Told::TrackEnded(77))],
    }
}

#[test]
fn another_number_in_what_a_session_decides_is_a_difference_at_its_record() {
    for detail in [Detail::Sizes, Detail::Full] {
        let log = plain(detail, detail);
        let mut varied = 0;
        for (name, index, step) in kinds(&log) {
            for other in others(&log.records[index].crossings[step]) {
                varied += 1;
                let mut changed = log.clone();
                changed.records[index].crossings[step] = other.clone();
                let difference = replay(&changed, origin()).unwrap().difference;
                let difference = difference.unwrap_or_else(|| panic!("{name}: {other:?}"));
                assert_eq!(difference.record, index + 1, "{name}: {difference}");
                assert_ne!(difference.recorded, difference.replayed);
            }
        }
        assert!(varied > 40, "{varied}");
    }
}

#[test]
fn a_deadline_that_did_not_move_is_a_difference_when_the_log_says_so() {
    let log = plain(Detail::Sizes, Detail::Sizes);
    let is_plain = |record: &crate::record::log::Record| {
        let has_one = |crossing: &Crossing| {
            matches!(crossing, Crossing::Deadline(_) | Crossing::DeadlineUnseen)
        };
        matches!(record.entry, Entry::Call { .. }) && !record.crossings.iter().any(has_one)
    };
    let index = log.records.iter().position(is_plain).unwrap();
    for offset in [Some(5), None] {
        let mut moved = log.clone();
        moved.records[index].crossings.push(Crossing::Deadline(offset));
        let difference = replay(&moved, origin()).unwrap().difference;
        assert_eq!(difference.map(|difference| difference.record), Some(index + 1), "{offset:?}");
    }
}

#[test]
fn a_difference_is_shown_with_the_five_records_that_led_to_it() {
    let log = plain(Detail::Sizes, Detail::Sizes);
    let timeline: Vec<_> = log.timeline().collect();
    for index in [0, 3, 4, 5, 6, 40] {
        let mut wrong = log.clone();
        wrong.records[index].entry = Entry::Mark(crate::record::entry::Mark::default());
        wrong.records[index].crossings.clear();
        let difference = replay(&wrong, origin()).unwrap().difference.unwrap();
        assert_eq!(difference.record, index + 1);
        let before = &difference.before[..difference.before.len() - 1];
        assert_eq!(before, &timeline[index.saturating_sub(4)..index], "{index}");
    }
}

#[test]
fn a_datagram_without_any_path_is_a_difference() {
    let mut log = plain(Detail::Sizes, Detail::Sizes);
    let paths = |record: &mut crate::record::log::Record| match &mut record.entry {
        Entry::Call { call: Call::HandleDatagram { path, .. }, .. } => path.take().is_some(),
        _ => false,
    };
    let index = log.records.iter_mut().position(paths).unwrap();
    let difference = replay(&log, origin()).unwrap().difference.unwrap();
    assert_eq!(difference.record, index + 1);
    assert_eq!(difference.recorded, "a datagram without its path");
}

#[test]
fn addresses_that_are_freed_before_the_end_are_a_difference_and_other_routing_is_none() {
    let log = plain(Detail::Sizes, Detail::Sizes);
    let path = Path {
        transport: 0,
        source: ([192, 0, 2, 9], 1).into(),
        destination: ([192, 0, 2, 1], 7860).into(),
    };
    let with = |index: usize, routing: Routing| {
        let mut other = log.clone();
        let crossings = Vec::new();
        let entry = Entry::Routing { after: 0, routing };
        other.records.insert(index, crate::record::log::Record { offset: 0, entry, crossings });
        replay(&other, origin()).unwrap()
    };
    let last = log.records.len() - 1;
    for index in [0, last / 2, last] {
        for routing in [
            Routing::Admitted { sessions: 1, half_open: 1 },
            Routing::Bound(path),
            Routing::BoundInsteadOf(path),
            Routing::AddressRefused(path),
            Routing::Forged(path),
        ] {
            assert!(with(index, routing).is_identical(), "{index}");
        }
        let freed = with(index, Routing::Released);
        assert_eq!(freed.is_identical(), index == last, "{freed}");
    }
}

#[test]
fn a_step_too_many_at_the_end_of_a_call_is_a_difference() {
    let log = plain(Detail::Sizes, Detail::Sizes);
    let is_call = |record: &crate::record::log::Record| {
        let ends = matches!(record.crossings.last(), Some(Crossing::Deadline(_)));
        ends && matches!(record.entry, Entry::Call { .. })
    };
    let index = log.records.iter().position(is_call).unwrap();
    for more in [Crossing::Timeout, Crossing::Deadline(None), Crossing::DeadlineUnseen] {
        let mut longer = log.clone();
        longer.records[index].crossings.push(more.clone());
        let replay = replay(&longer, origin()).unwrap();
        let difference = replay.difference.unwrap_or_else(|| panic!("{more:?}"));
        assert_eq!(difference.record, index + 1);
        assert_eq!(difference.recorded, format!("{more:?}"));
        assert_eq!(difference.replayed, "nothing more in this call");
    }
}

#[test]
fn a_replay_is_told_in_one_line_and_a_difference_below_it() {
    let mut log = plain(Detail::Sizes, Detail::Sizes);
    let same = replay(&log, origin()).unwrap();
    assert!(same.is_identical());
    let (calls, steps) = (same.calls, same.crossings);
    let expected = format!("identical: {calls} calls, {steps} crossings, ");
    let text = same.to_string();
    assert!(text.starts_with(&expected) && text.lines().count() == 1, "{text}");
    assert!(text.ends_with(&format!("{:016x}, media {:016x}", same.decisions, same.media)));

    log.records[0].crossings.push(Crossing::Timeout);
    let other = replay(&log, origin()).unwrap();
    assert!(!other.is_identical());
    let text = other.to_string();
    assert!(text.starts_with("different: 0 calls, "), "{text}");
    assert!(text.contains("\nrecord 1 at byte ") && text.contains("\nwhat led to it:\n"), "{text}");
    assert!(text.contains("\n  recorded: Timeout\n  replayed: nothing more"), "{text}");
}
