//! A masked line still says what kind of line it is.

use super::*;

#[test]
fn of_a_line_that_is_masked_its_kind_and_its_length_stay() {
    for (line, masked) in [
        ("k=clear:letmein\r\n", "k=xxxxxxxxxxxxx\r\n"),
        ("e=jane@example.org\n", "e=xxxxxxxxxxxxxxxx\n"),
        ("a=ice-pwd:secret\r\n", "a=ice-pwd:xxxxxx\r\n"),
        ("a=unknown\r\n", "a=xxxxxxx\r\n"),
        ("nonsense\r\n", "xxxxxxxx\r\n"),
        ("c=IN IP4 192.0.2.1\r\n", "c=IN IP4 192.0.2.1\r\n"),
        ("a=sendrecv\r\n", "a=sendrecv\r\n"),
        ("\r\n", "\r\n"),
        ("v=0", "v=0"),
    ] {
        assert_eq!(mask(line), masked);
    }
}
