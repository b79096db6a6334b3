//! How faults are written and read, and which there are.

use std::collections::BTreeMap;

use check::wiretap::{Method, Side};
use search::fault::{Fault, Step, all, counted, pairs};

#[test]
fn a_fault_is_read_as_it_is_written() {
    for text in [
        "kill finance before basic.ack 2",
        "cut shop after confirm 1",
        "swallow shop before basic.publish 3",
        "freeze payment after basic.deliver 12",
        "kill broker after basic.publish 1 of shop",
        "kill history before response 2 of video-streaming",
        "kill history before commit 1",
    ] {
        let fault: Result<Fault, String> = text.parse();
        assert_eq!(fault.map(|fault| fault.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn a_slip_is_told_with_what_can_be_written() {
    let slip = |text: &str| text.parse::<Fault>().err().unwrap_or_default();
    assert!(slip("kill finance").contains("as in: kill finance before"));
    assert!(slip("kil finance before basic.ack 2").contains("cut, swallow"));
    assert!(slip("kill finance at basic.ack 2").contains("neither"));
    let known = Method::BasicAck.name();
    assert!(slip("kill finance before basic.akc 2").contains(known));
    assert!(slip("kill finance before basic.ack 0").contains("from 1"));
}

#[test]
fn each_passed_point_has_its_faults_and_the_telling_ones_come_first() {
    let ack = Step::Frame(Side::Client, Method::BasicAck);
    let deliver = Step::Frame(Side::Server, Method::BasicDeliver);
    let passed = BTreeMap::from([
        (counted("finance", deliver), (deliver, 1)),
        (counted("finance", ack), (ack, 2)),
        (counted("finance", Step::Commit), (Step::Commit, 1)),
    ]);
    let all = all(&passed, &BTreeMap::new());
    // Kill, broker and cut at each edge, swallow before it, freeze after it.
    assert_eq!(all.len(), 3 * 8 + 1);
    assert_eq!(all[0].to_string(), "kill finance before basic.ack 2");
    assert_eq!(all[2].to_string(), "kill finance before commit 1");
    let restarts = all.iter().position(Fault::hits_broker);
    assert!(restarts > Some(10), "{restarts:?}");
}

#[test]
fn a_pair_is_two_faults_at_two_points_and_one_broker() {
    let read = |text: &&str| text.parse::<Fault>();
    let all: Result<Vec<_>, _> = [
        "kill shop after basic.publish 1",
        "cut shop after basic.publish 1",
        "kill finance before basic.ack 2",
        "kill broker after basic.publish 1 of shop",
        "kill broker before confirm 1 of shop",
    ]
    .iter()
    .map(read)
    .collect();
    let pairs = pairs(&all.unwrap_or_default());
    // Of ten pairs, three are at one point, and one kills the broker twice.
    assert_eq!(pairs.len(), 6);
    let names: Vec<_> = pairs[0].iter().map(ToString::to_string).collect();
    let first = [
        "kill shop after basic.publish 1",
        "kill finance before basic.ack 2",
    ];
    assert_eq!(names, first);
}
