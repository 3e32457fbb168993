//! A log says what it is.

use super::*;
use crate::record::recorder::bounds::{origin, recorder, written};

#[test]
fn a_log_names_the_version_that_wrote_it_and_knows_its_own_build() {
    let (recorder, writes) = recorder(4_096, origin());
    drop(recorder);
    let mut log = written(&writes);
    assert_eq!(log.crate_version(), "1");
    assert!(log.is_of_this_build());
    log.header.behaviour.push('x');
    assert!(!log.is_of_this_build());
    assert_eq!((log.calls(), log.duration()), (0, Duration::ZERO));
}

#[test]
fn a_record_that_has_more_than_a_call_may_have_means_nothing() {
    use crate::record::coding::append;
    let record = |entry: &Entry, crossings: &[Crossing]| {
        let mut body = Vec::new();
        append(entry, &mut body);
        crossings.iter().for_each(|crossing| append(crossing, &mut body));
        parse(&body)
    };
    let call = Entry::Call { after: 3, call: crate::record::Call::Start };
    let mark = Entry::Mark(Default::default());
    let step = [Crossing::Timeout];
    assert_eq!(record(&call, &step), Some((call.clone(), step.to_vec())));
    assert_eq!(record(&call, &[]), Some((call, Vec::new())));
    assert_eq!(record(&mark, &[]), Some((mark.clone(), Vec::new())));
    assert_eq!(record(&mark, &step), None, "nothing follows a mark");
}
