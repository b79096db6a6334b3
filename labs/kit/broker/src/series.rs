//! The series of RabbitMQ that the lab is tested on, the one that is still supported, and the one that
//! a run requires.

use super::{Broker, NoBroker};

/// The oldest series that the lab is tested on; `.ci/rabbitmq-series` lists all.
pub const OLDEST: &str = "3.10";

/// The newest series that the lab is tested on, also in `compose/broker.yml`. Install this one if you
/// can choose. Community support of 4.2 ended on 2026-07-31 (of 3.10 in 2023), and that of 4.3 is
/// planned to end on 2026-11-30. Source, as of 2026-11-25:
/// <https://www.rabbitmq.com/release-information>.
pub const NEWEST: &str = "4.3";

/// The variable with the series that every broker must be of: CI sets it.
const WANTED: &str = "LAB_RABBITMQ_SERIES";

/// The advice for a series without community support; `None` for other series, and for text that is
/// not a version. `version` is `RabbitMQ 3.10.8` or `3.10.8`.
#[must_use]
pub fn out_of_support(version: &str) -> Option<String> {
    let series = numbers(version)?;
    let ended = series < numbers(NEWEST)?;
    let [major, minor] = series;
    let advice = format!(
        "RabbitMQ {major}.{minor} is out of community support. \
         Where you can choose, take {NEWEST}."
    );
    ended.then_some(advice)
}

/// The broker, unless this run requires another series.
pub(super) fn require(broker: Broker) -> Result<Broker, NoBroker> {
    let wanted = std::env::var(WANTED).unwrap_or_default();
    if wanted.is_empty() || numbers(&broker.version) == numbers(&wanted) {
        return Ok(broker);
    }
    Err(NoBroker {
        why: format!("{WANTED} is {wanted}, but this is {}", broker.label()),
        mend: format!("unset {WANTED}"),
    })
}

/// `[3, 10]` of `RabbitMQ 3.10.8`.
fn numbers(version: &str) -> Option<[u32; 2]> {
    let version = version.rsplit(' ').next()?;
    let mut parts = version.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some([major, minor]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{NEWEST, OLDEST, numbers, out_of_support};

    #[test]
    fn all_but_the_newest_series_are_out_of_support() {
        assert!(out_of_support(OLDEST).is_some_and(|told| told.contains(NEWEST)));
        let told = out_of_support("RabbitMQ 3.10.8").unwrap_or_default();
        assert!(
            told.starts_with("RabbitMQ 3.10 is out of") && told.len() <= 78,
            "{told}"
        );
        assert!(out_of_support("4.2.9").is_some());
        for fine in [
            "4.3.6",
            "RabbitMQ 4.3.0",
            "RabbitMQ 4.10.1",
            "RabbitMQ 5.0.0",
            "",
            "LavinMQ",
        ] {
            assert_eq!(out_of_support(fine), None, "{fine}");
        }
        assert_eq!(numbers("RabbitMQ 3.10.8"), numbers(OLDEST));
    }
}
