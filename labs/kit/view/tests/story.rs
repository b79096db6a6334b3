//! Small journals, and what their pictures say.

use anyhow::{Context, Result};
use view::{Arrow, Caption, Depth, Kind, Row, Sort, Story, What, mermaid, story, svg};
use wiretap::journal::Head;
use wiretap::{Ending, Entry, Method};

const ID: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

/// The entries of a journal's lines; each `ID` stands for the message's id.
fn entries(lines: &[&str]) -> Result<Vec<Entry>> {
    let lines = lines.iter().map(|line| line.replace("ID", ID));
    let parsed = lines.map(|line| serde_json::from_str(&line).context(line));
    parsed.collect()
}

fn head() -> Head {
    Head {
        chapter: "02".to_owned(),
        check: "killed".to_owned(),
        seed: 7,
    }
}

/// A frame of `shop` or `history` as a line of the journal.
fn frame(t: f64, service: &str, from: &str, method: Method, rest: &str) -> String {
    format!(
        r#"{{"t":{t},"event":"amqp","service":"{service}","connection":1,"from":"{from}","channel":1,"method":"{method}",{rest}}}"#
    )
}

const MESSAGE: &str = r#""message":{"id":"ID","content_type":null,"persistent":true,"correlation_id":null,"reply_to":null,"size":2,"body":"{}"}"#;

fn published(t: f64, exchange: &str, key: &str) -> String {
    let args = format!(r#""args":{{"exchange":"{exchange}","routing_key":"{key}"}},{MESSAGE}"#);
    frame(t, "shop", "client", Method::BasicPublish, &args)
}

fn delivered(t: f64, redelivered: bool) -> String {
    let args = format!(
        r#""args":{{"consumer_tag":"c","delivery_tag":1,"redelivered":{redelivered},"exchange":"","routing_key":"sales"}},{MESSAGE}"#
    );
    frame(t, "history", "server", Method::BasicDeliver, &args)
}

fn consumes(t: f64) -> [String; 2] {
    let args = r#""args":{"queue":"sales","consumer_tag":"c","no_ack":false}"#;
    let declare = r#""args":{"queue":"sales","durable":true}"#;
    [
        frame(t, "history", "client", Method::QueueDeclare, declare),
        frame(t, "history", "client", Method::BasicConsume, args),
    ]
}

fn told(lines: &[String]) -> Result<(Vec<Entry>, Story)> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let entries = entries(&lines)?;
    let story = story(&entries);
    Ok((entries, story))
}

fn arrows(story: &Story) -> Vec<(Sort, &Row, &Arrow)> {
    let arrows = story.rows.iter().filter_map(|row| match &row.what {
        What::Arrow(arrow) => Some((arrow.sort, row, arrow)),
        _ => None,
    });
    arrows.collect()
}

#[test]
fn a_message_goes_from_publish_to_ack_and_the_queue_counts_it() -> Result<()> {
    let ack = r#""args":{"delivery_tag":1,"multiple":false}"#;
    let mut lines = consumes(0.1).to_vec();
    lines.push(published(0.2, "", "sales"));
    lines.push(delivered(0.3, false));
    lines.push(frame(0.4, "history", "client", Method::BasicAck, ack));
    let (_, story) = told(&lines)?;
    let names: Vec<_> = story.lanes.iter().map(|lane| &*lane.name).collect();
    assert_eq!(names, ["shop", "", "sales", "history"]);
    let arrows = arrows(&story);
    let sorts: Vec<_> = arrows.iter().map(|(sort, ..)| *sort).collect();
    assert_eq!(
        sorts,
        [Sort::Setup, Sort::Publish, Sort::Deliver, Sort::Ack]
    );
    assert_eq!(arrows[0].1.text, "declare · consume");
    assert_eq!(arrows[1].2.routed, [2]);
    let depths: Vec<_> = arrows[1..]
        .iter()
        .map(|(_, row, _)| row.depths[0].1)
        .collect();
    let depth = |ready, unacked| Depth { ready, unacked };
    assert_eq!(depths, [depth(1, 0), depth(0, 1), depth(0, 0)]);
    Ok(())
}

#[test]
fn a_lost_connection_gives_back_what_was_unacked() -> Result<()> {
    let mut lines = consumes(0.1).to_vec();
    lines.push(published(0.2, "", "sales"));
    lines.push(delivered(0.3, false));
    lines.push(r#"{"t":0.4,"event":"connection","service":"history","connection":1,"what":{"lost":"closed-by-check"}}"#.to_owned());
    let (_, story) = told(&lines)?;
    let last = story.rows.last().context("no row")?;
    assert!(matches!(last.what, What::Link(_, false)), "{last:?}");
    let depth = Depth {
        ready: 1,
        unacked: 0,
    };
    assert_eq!(last.depths, [(2, depth)]);
    Ok(())
}

#[test]
fn a_message_that_no_queue_takes_ends_in_a_cross() -> Result<()> {
    let declare = r#""args":{"exchange":"sales","type":"fanout","durable":true}"#;
    let lines = [
        frame(0.1, "shop", "client", Method::ExchangeDeclare, declare),
        published(0.2, "sales", ""),
    ];
    let (entries, story) = told(&lines)?;
    let arrows = arrows(&story);
    assert!(arrows[1].2.lost, "{arrows:?}");
    let caption = Caption::of(&head(), &entries);
    assert!(svg(&story, &caption).contains(r#"class="cross""#));
    assert!(mermaid(&story, &caption).contains("L0-xL1: publish 1b9d6bcd"));
    Ok(())
}

#[test]
fn what_the_verdict_names_stands_out() -> Result<()> {
    let verdict = r#"{"t":1.0,"event":"verdict","says":"a sale is booked","ending":{"failed":{"expected":"1","observed":"0; history got 1b9d6bcd"}}}"#;
    let mut lines = consumes(0.1).to_vec();
    lines.push(published(0.2, "", "sales"));
    lines.push(delivered(0.3, true));
    lines.push(verdict.to_owned());
    let (entries, story) = told(&lines)?;
    let caption = Caption::of(&head(), &entries);
    assert!(matches!(caption.ending, Some(Ending::Failed { .. })));
    let picture = svg(&story, &caption);
    assert_eq!(picture.matches(r#"class="row told""#).count(), 2);
    assert_eq!(picture.matches(r#"class="row dim""#).count(), 1);
    assert!(picture.contains("✘ 0; history got 1b9d6bcd"));
    assert!(picture.contains("arrow redeliver"));
    Ok(())
}

#[test]
fn a_long_run_is_folded_and_says_how_much() -> Result<()> {
    let mut lines = consumes(0.1).to_vec();
    lines.extend((0..500).map(|n| published(0.2 + f64::from(n) / 1e3, "", "sales")));
    let (entries, story) = told(&lines)?;
    let picture = svg(&story, &Caption::of(&head(), &entries));
    assert!(
        picture.contains("… 496 like these: 496 publish"),
        "{picture}"
    );
    assert!(picture.contains("■500 □0"));
    Ok(())
}

#[test]
fn text_of_a_message_is_never_markup() -> Result<()> {
    let hostile = r#""args":{"queue":"</text><script>alert(1)</script>\u0000"}"#;
    let lines = [frame(0.1, "<b>", "client", Method::QueueDeclare, hostile)];
    let (entries, story) = told(&lines)?;
    let caption = Caption::of(&head(), &entries);
    let picture = svg(&story, &caption);
    assert!(!picture.contains("<script") && !picture.contains("<b>") && !picture.contains('\0'));
    assert!(!mermaid(&story, &caption).contains('<'));
    assert!(story.lanes.iter().any(|lane| lane.kind == Kind::Queue));
    Ok(())
}
