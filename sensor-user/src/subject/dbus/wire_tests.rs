use proptest::prelude::*;

use super::*;
use crate::subject::dbus::tests::Message;

#[test]
fn a_call_comes_back_in_both_byte_orders() {
    for big_endian in [false, true] {
        let mut message = Message::call("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "X");
        message.big_endian = big_endian;
        message.destination = ":1.7".into();
        message.serial = 77;
        let bytes =
            message.signature("sbtas").text("a.service").bool(true).long(1 << 40).texts(&["b", "c"]).build();
        assert_eq!(fixed(&bytes).unwrap().length, bytes.len());
        let call = call(&bytes).unwrap();
        assert_eq!(
            (call.path, call.interface, call.member, call.destination, call.serial),
            ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "X", ":1.7", 77)
        );
        let list = Value::List(vec![Value::Text("b"), Value::Text("c")]);
        let (arguments, complete) = call.arguments();
        assert!(complete);
        assert_eq!(arguments, [Value::Text("a.service"), Value::Bool(true), Value::Unsigned(1 << 40), list]);
    }
}

#[test]
fn a_message_that_is_cut_gives_what_is_there() {
    let message = Message::call("/o", "i.i", "M").signature("ass").texts(&["one", "two"]).text("three");
    let bytes = message.build();
    for length in 0..bytes.len() {
        let Some(call) = call(&bytes[..length]) else {
            assert!(length < FIXED);
            continue;
        };
        assert!(call.incomplete);
        let (arguments, complete) = call.arguments();
        assert!(!complete);
        assert!(arguments.len() < 2, "{length} of {} bytes: {arguments:?}", bytes.len());
    }
    let cut = &bytes[..bytes.len() - 7];
    assert_eq!(call(cut).unwrap().arguments().0[0].texts().collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn what_is_no_message_is_told_from_the_beginning_of_one() {
    let bytes = Message::call("/o", "i.i", "M").build();
    assert!((0..bytes.len()).all(|length| may_begin(&bytes[..length])));
    for (at, value) in [(0, b'x'), (1, 0), (3, 2)] {
        let mut wrong = bytes.clone();
        wrong[at] = value;
        assert!(fixed(&wrong).is_none(), "byte {at}");
    }
    let mut endless = bytes.clone();
    endless[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(fixed(&endless).is_none());
    let mut unnumbered = bytes;
    unnumbered[8..12].fill(0);
    assert!(fixed(&unnumbered).is_none());
}

#[test]
fn nesting_and_numbers_of_values_are_bounded() {
    let deep = "a".repeat(200) + "s";
    let bytes = Message::call("/o", "i.i", "M").signature(&deep).raw(&[0; 64]).build();
    assert!(!call(&bytes).unwrap().arguments().1);
    let many = vec![""; 10_000];
    let bytes = Message::call("/o", "i.i", "M").signature("as").texts(&many).build();
    let (arguments, complete) = call(&bytes).unwrap().arguments();
    assert!(!complete && arguments[0].list().len() < 5000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        signature in "[a(){}vybnqiuxtdsogh]{0,20}",
    ) {
        if let Some(call) = call(&body) {
            let _ = call.arguments();
        }
        let bytes = Message::call("/o", "i.i", "M").signature(&signature).raw(&body).build();
        let _ = call(&bytes).unwrap().arguments();
    }

    #[test]
    fn garbled_messages_never_panic(edits in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..20)) {
        let mut bytes = Message::call("/o", "i.i", "M").signature("asa(sv)").texts(&["x"]).raw(&[0; 40]).build();
        for (at, value) in edits {
            let length = bytes.len();
            bytes[usize::from(at) % length] = value;
        }
        if let Some(call) = call(&bytes) {
            let _ = call.arguments();
        }
    }
}
