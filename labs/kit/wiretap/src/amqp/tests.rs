//! The decoder against frames written by hand, byte by byte as the specification has them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;

use super::super::frame::{Frame, Side};
use super::{Decoder, Method};

const GREETING: &[u8] = b"AMQP\0\0\x09\x01";

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    bytes
}

fn method(channel: u16, class: u16, id: u16, arguments: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(id.to_be_bytes());
    payload.extend(arguments);
    frame(1, channel, &payload)
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn long(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

fn publish(channel: u16, queue: &str) -> Vec<u8> {
    let arguments = [&[0, 0][..], &short(""), &short(queue), &[1]].concat();
    method(channel, 60, 40, &arguments)
}

/// A content header with `message_id`, delivery mode 2.
fn header(channel: u16, size: u64, id: &str) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend(size.to_be_bytes());
    payload.extend((0x1000_u16 | 0x0080).to_be_bytes());
    payload.push(2);
    payload.extend(short(id));
    frame(2, channel, &payload)
}

fn body(channel: u16, bytes: &[u8]) -> Vec<u8> {
    frame(3, channel, bytes)
}

fn ack(channel: u16, tag: u64, multiple: bool) -> Vec<u8> {
    let arguments = [&tag.to_be_bytes()[..], &[u8::from(multiple)]].concat();
    method(channel, 60, 80, &arguments)
}

fn heartbeat() -> Vec<u8> {
    frame(8, 0, b"")
}

/// What a client sends, with two channels whose contents are interleaved.
fn conversation() -> Vec<u8> {
    [
        GREETING.to_vec(),
        heartbeat(),
        method(1, 20, 10, &[0]),
        publish(1, "viewed"),
        publish(2, "users"),
        header(2, 4, "two"),
        header(1, 10, "one"),
        body(1, b"first"),
        heartbeat(),
        body(2, b"user"),
        ack(3, 7, true),
        body(1, b" half"),
        publish(1, "empty"),
        header(1, 0, "none"),
        publish(1, "large"),
        header(1, 70_000, "large"),
        body(1, &[b'a'; 60_000]),
        body(1, &[b'b'; 10_000]),
        heartbeat(),
    ]
    .concat()
}

/// A decoder, and the bytes of a frame that is not whole yet.
struct Reading {
    decoder: Decoder,
    rest: Vec<u8>,
}

impl Reading {
    fn lost(&self) -> bool {
        self.decoder.lost()
    }
}

fn reading(from: Side) -> Reading {
    Reading {
        decoder: Decoder::new("history", 3, from),
        rest: Vec::new(),
    }
}

fn decoder() -> Reading {
    reading(Side::Client)
}

/// Feeds `pieces` and gives the frames, and the bytes as they came out.
fn fed<'a>(
    reading: &mut Reading,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Vec<u8>) {
    let (mut frames, mut bytes) = (Vec::new(), Vec::new());
    let Reading { decoder, rest } = reading;
    for piece in pieces {
        rest.extend(piece);
        while let Some((length, frame)) = decoder.read(rest) {
            bytes.extend(rest.drain(..length));
            frames.extend(frame);
        }
    }
    (frames, bytes)
}

fn whole(bytes: &[u8]) -> Vec<Frame> {
    fed(&mut decoder(), [bytes]).0
}

#[test]
fn a_conversation_is_decoded() {
    let frames = whole(&conversation());
    let told: Vec<_> = frames
        .iter()
        .map(|frame| (frame.channel, frame.method, frame.message_id()))
        .collect();
    assert_eq!(
        told,
        [
            (1, Method::ChannelOpen, None),
            (2, Method::BasicPublish, Some("two")),
            (3, Method::BasicAck, None),
            (1, Method::BasicPublish, Some("one")),
            (1, Method::BasicPublish, Some("none")),
            (1, Method::BasicPublish, Some("large")),
        ]
    );
    let one = frames[3].message.as_ref().unwrap();
    assert_eq!((one.body.as_str(), one.size), ("first half", 10));
    assert!(one.persistent);
    assert_eq!(frames[3].args["routing_key"], "viewed");
    assert!(frames[3].flag("mandatory"));
    assert_eq!(frames[2].tag(), Some(7));
    assert!(frames[2].flag("multiple"));
    let large = frames[5].message.as_ref().unwrap();
    assert_eq!(
        (large.size, large.body.as_str()),
        (70_000, "a".repeat(256).as_str())
    );
    assert!(
        frames
            .iter()
            .all(|f| f.connection == 3 && f.service == "history")
    );
}

#[test]
fn any_chunking_gives_the_same_frames_and_bytes() {
    let bytes = conversation();
    let expected = whole(&bytes);
    let single = fed(&mut decoder(), bytes.chunks(1));
    assert_eq!(single.0, expected);
    assert!(single.1 == bytes);
    let seed = rand::random();
    let mut chance = StdRng::seed_from_u64(seed);
    for _ in 0..200 {
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            // Short pieces around the frames' heads, long ones through the bodies.
            let longest = if chance.random() { 12 } else { 40_000 };
            let at = chance.random_range(0..=longest).min(rest.len());
            let (piece, other) = rest.split_at(at);
            pieces.push(piece);
            rest = other;
        }
        let mut decoder = decoder();
        let (frames, out) = fed(&mut decoder, pieces);
        assert!(frames == expected, "seed {seed}");
        assert!(out == bytes, "seed {seed}");
        assert!(!decoder.lost() && decoder.rest.is_empty(), "seed {seed}");
    }
}

/// A frame that never becomes whole is not lost: it comes out at the end.
#[test]
fn half_a_frame_is_the_rest() {
    let bytes = [GREETING, &ack(1, 1, false)[..9]].concat();
    let mut decoder = decoder();
    let (frames, out) = fed(&mut decoder, [bytes.as_slice()]);
    assert!(frames.is_empty() && out == GREETING);
    assert_eq!(decoder.rest, bytes[8..]);
    assert!(!decoder.lost());
}

#[test]
fn garbage_from_the_start_passes_at_once() {
    for garbage in [
        &b"h"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"AMQ!",
        b"\x16\x03\x01",
        b"\0",
    ] {
        let mut decoder = decoder();
        let (frames, out) = fed(&mut decoder, [garbage]);
        assert!(frames.is_empty() && out == garbage && decoder.lost());
        // From here on nothing is read, whatever it looks like.
        let (frames, out) = fed(&mut decoder, [conversation().as_slice()]);
        assert!(frames.is_empty() && out == conversation());
        assert!(decoder.rest.is_empty());
    }
    let mut server = reading(Side::Server);
    let (_, out) = fed(&mut server, [&b"no"[..]]);
    assert!(out == b"no" && server.lost());
    // The start of a greeting may still become one.
    let mut half = decoder();
    assert!(half.decoder.read(b"AMQ").is_none() && !half.lost());
}

#[test]
fn garbage_in_the_middle_passes_at_once() {
    let mut cut_short = ack(1, 1, false);
    // Its end marker is another byte.
    *cut_short.last_mut().unwrap() = 0xCD;
    let unknown = method(1, 99, 99, b"");
    let overlong = method(1, 20, 11, b"\0\0\0\0 and more");
    for garbage in [
        &b"\x07nonsense"[..],
        &cut_short,
        &unknown,
        &overlong,
        b"\x04",
    ] {
        let mut decoder = decoder();
        let bytes = [&conversation(), garbage].concat();
        let (frames, out) = fed(&mut decoder, [bytes.as_slice()]);
        assert_eq!(frames.len(), 6, "what came before it is decoded");
        assert!(out == bytes && decoder.lost());
        let (frames, out) = fed(&mut decoder, [ack(1, 2, false).as_slice()]);
        assert!(frames.is_empty() && out == ack(1, 2, false));
    }
}

#[test]
fn a_frame_that_claims_four_gigabytes_is_not_waited_for() {
    for size in [u32::MAX, 1 << 31, 64 << 20] {
        let claim = [&[1, 0, 1][..], &size.to_be_bytes(), b"and so on"].concat();
        let bytes = [GREETING, &claim].concat();
        let mut decoder = decoder();
        let (frames, out) = fed(&mut decoder, bytes.chunks(1));
        assert!(frames.is_empty() && out == bytes && decoder.lost());
    }
}

/// A content header that claims more than ever comes keeps no memory and no bytes back.
#[test]
fn a_body_that_never_ends_is_passed_on() {
    let bytes = [
        GREETING.to_vec(),
        publish(1, "viewed"),
        header(1, u64::MAX, "endless"),
        body(1, b"x"),
        // A body, and a header, that belong to nothing.
        body(9, b"x"),
        header(9, 1, "nothing"),
        ack(1, 1, false),
    ]
    .concat();
    let mut decoder = decoder();
    let (frames, out) = fed(&mut decoder, [bytes.as_slice()]);
    let methods: Vec<_> = frames.iter().map(|frame| frame.method).collect();
    assert_eq!(methods, [Method::BasicAck]);
    assert!(out == bytes && !decoder.lost());
}

#[test]
fn credentials_are_in_no_frame() {
    let start_ok = [
        &[0, 0, 0, 0][..],
        &short("PLAIN"),
        &long("\0guest\0s3cret"),
        &short("en_US"),
    ]
    .concat();
    let frames = whole(&[GREETING, &method(0, 10, 11, &start_ok)].concat());
    let written = serde_json::to_string(&frames[0]).unwrap();
    assert_eq!(frames[0].method, Method::ConnectionStartOk);
    assert!(
        !written.contains("s3cret") && !written.contains("guest"),
        "{written}"
    );
    let update = [long("s3cret"), short("because")].concat();
    let frames = whole(&[GREETING, &method(0, 10, 70, &update)].concat());
    let written = serde_json::to_string(&frames[0]).unwrap();
    assert!(!written.contains("s3cret"), "{written}");
}

/// A letter on the border of two frames, or of what is kept, is still that letter or none.
#[test]
fn a_body_is_cut_between_letters() {
    let text = "ü".repeat(200);
    let (one, two) = text.as_bytes().split_at(101);
    let bytes = [
        GREETING.to_vec(),
        publish(1, "viewed"),
        header(1, 400, "text"),
        body(1, one),
        body(1, two),
    ]
    .concat();
    let frames = whole(&bytes);
    let message = frames[0].message.as_ref().unwrap();
    assert_eq!(message.body, "ü".repeat(128));
}

#[test]
fn arguments_are_plain_json() {
    let pair = |key: &str, kind: u8, value: &[u8]| [&short(key)[..], &[kind], value].concat();
    let table = [
        pair("x-dead-letter-exchange", b'S', &long("dead")),
        pair("x-max-length", b'l', &7_i64.to_be_bytes()),
        pair("flag", b't', &[1]),
        pair("nothing", b'V', b""),
        pair(
            "list",
            b'A',
            &[&6_u32.to_be_bytes()[..], b"t\x01t\x00VV"].concat(),
        ),
    ]
    .concat();
    let arguments = [
        &[0, 0][..],
        &short("viewed"),
        &[0b00010],
        &(table.len() as u32).to_be_bytes(),
        &table,
    ]
    .concat();
    let frames = whole(&[GREETING, &method(1, 50, 10, &arguments)].concat());
    assert_eq!(frames[0].method, Method::QueueDeclare);
    assert!(frames[0].flag("durable") && !frames[0].flag("passive"));
    assert_eq!(
        frames[0].args["arguments"],
        json!({"x-dead-letter-exchange": "dead", "x-max-length": 7, "flag": true,
            "nothing": null, "list": [true, false, null, null]})
    );
}

/// Not a single byte is held back or changed, whatever comes after a good beginning.
#[test]
fn random_bytes_come_out_as_they_went_in() {
    let seed = rand::random();
    let mut chance = StdRng::seed_from_u64(seed);
    for _ in 0..300 {
        let mut bytes = conversation();
        for _ in 0..3 {
            let at = chance.random_range(0..bytes.len().min(300));
            bytes[at] = chance.random();
        }
        let mut noise = vec![0; chance.random_range(0..50)];
        chance.fill_bytes(&mut noise);
        bytes.extend(noise);
        let mut decoder = decoder();
        let size = chance.random_range(1..1000);
        let (_, mut out) = fed(&mut decoder, bytes.chunks(size));
        out.extend(decoder.rest);
        assert!(out == bytes, "seed {seed}");
    }
}
