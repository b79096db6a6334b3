//! Which series of RabbitMQ the lab is proved on, which of them is still supported, and which
//! one a run insists on.

use super::{Broker, NoBroker};

/// The oldest series that every solution's checks run on; `.ci/rabbitmq-series` has all.
pub const OLDEST: &str = "3.10";

/// The newest of them, in `compose/broker.yml`, too: what to install where there is a choice.
/// RabbitMQ supports one series, the newest: community support of 4.2 ended on 2026-07-31 (of
/// 3.10 in 2023), that of 4.3 is planned to end on 2026-11-30. Source, as of 2026-11-25:
/// <https://www.rabbitmq.com/release-information>.
pub const NEWEST: &str = "4.3";

/// The series that a broker must be of, wherever it comes from: for CI, which says so.
const WANTED: &str = "LAB_RABBITMQ_SERIES";

/// What to tell of a broker whose series has no community support any more; nothing of others,
/// and of what is no version. `version` is as `RabbitMQ 3.10.8` or `3.10.8`.
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

/// The broker, if it is of the series that this run insists on, or if it insists on none.
pub(super) fn insist(broker: Broker) -> Result<Broker, NoBroker> {
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
