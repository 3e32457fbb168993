//! Arguments of a log are believed as far as a call could have had them.

use super::*;

#[test]
fn an_argument_is_as_long_as_the_log_says_up_to_what_no_call_takes() {
    assert_eq!(argument(0), 0);
    assert_eq!(argument(1_000), 1_000);
    let max = 64 * 1024 * 1024;
    assert_eq!([argument(max), argument(max + 1), argument(u64::MAX)], [max as usize; 3]);
}

#[test]
fn content_is_what_was_kept_or_as_many_zeros() {
    assert_eq!(content(3, &[]), [0; 3][..]);
    assert_eq!(content(3, b"kept"), b"kept"[..]);
    assert_eq!(message(true, 2, &[]), Message::Binary(vec![0, 0].into()));
    assert_eq!(message(false, 2, b"hi"), Message::text("hi"));
    assert_eq!(message(false, 1, &[0xff]), Message::Binary(vec![0xff].into()));
}

#[test]
fn what_a_call_gave_is_told_apart() {
    assert_eq!(of_message(&Ok(Delivery::Sent)), Value::Message { sent: true });
    assert_eq!(of_message(&Ok(Delivery::Queued)), Value::Message { sent: false });
    assert_eq!(of_message(&Err(SendError::Empty)), Value::Error("Empty".to_owned()));
    assert_eq!(of_audio(&Ok(AudioId(7))), Value::AudioId(7));
    assert_eq!(of_audio(&Err(SendError::Closed)), Value::Error("Closed".to_owned()));
    assert_eq!(of_encoded(&Ok(())), Value::Done);
    assert_eq!(of_encoded(&Err(SendError::Closed)), Value::Error("Closed".to_owned()));
    assert_eq!(of_candidate(&Ok(())), Value::Done);
    assert_eq!(of_offer(&Ok(())), Value::Done);
    let refused = of_offer::<()>(&Err(NegotiateError::NoUsableMedia));
    assert_eq!(refused, Value::Error("NoUsableMedia".to_owned()));
}
