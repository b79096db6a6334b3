//! Brokers from `AMQP_URL`, required series, and folders that cannot be used.

use super::*;

pub async fn broker_from_url() -> Result<()> {
    let broker = acquire(shared()).await?;
    let port = broker.address.port;
    let url = broker.address.url("/");
    let management = ("MANAGEMENT_URL", broker.management.as_str());
    let paths = folder("given");
    let try_url = |url: &str, more: &[(&str, &str)]| {
        let mut env = vec![("AMQP_URL", url)];
        env.extend_from_slice(more);
        Ok::<_, std::io::Error>(printed(other_command(&paths, &env).output()?))
    };
    let line = try_url(&url, &[management])?;
    ensure!(
        line == format!("{}, from AMQP_URL {port}", broker.version),
        "{line}"
    );
    let wrong = url.replace(&broker.address.password, "guessed");
    let cases = [
        (wrong.as_str(), management, "refuses user lab"),
        (
            url.as_str(),
            ("MANAGEMENT_URL", "http://127.0.0.1:1"),
            "no management API",
        ),
        (
            "amqp://me:guessed@127.0.0.1:1",
            management,
            "127.0.0.1:1 that does not answer",
        ),
        ("amqps://me:guessed@127.0.0.1", management, "not amqps://"),
        (
            "http://me:guessed@127.0.0.1",
            management,
            "AMQP_URL cannot be used",
        ),
        (
            "amqp://me:guessed@127.0.0.1:port",
            management,
            "AMQP_URL cannot be used",
        ),
        (
            broker.management.as_str(),
            management,
            "AMQP_URL cannot be used",
        ),
    ];
    for (url, more, expected) in cases {
        let line = try_url(url, &[more])?;
        if !line.contains(expected) || line.lines().count() != 1 || line.contains("guessed") {
            bail!("for {url}: {line}");
        }
    }
    Ok(())
}

/// A run that requires a series refuses every other, wherever the broker comes from.
pub async fn required_series() -> Result<()> {
    let broker = acquire(shared()).await?;
    let line = |series: &str, more: &[(&str, &str)]| {
        let mut command = other_command(shared(), more);
        let output = command.env("LAB_RABBITMQ_SERIES", series).output();
        Ok::<_, std::io::Error>(printed(output?))
    };
    let refused = |line: &str| line.starts_with("LAB_RABBITMQ_SERIES is 0.0, but this is Rabbit");
    let started = line("0.0", &[])?;
    ensure!(refused(&started), "{started}");
    let url = broker.address.url("/");
    let url = [("AMQP_URL", &*url), ("MANAGEMENT_URL", &*broker.management)];
    let given = line("0.0", &url)?;
    ensure!(refused(&given), "{given}");
    let number = broker.version.trim_start_matches("RabbitMQ ");
    let series = number.rsplit_once('.').context("no series")?.0;
    let port = broker.address.port;
    let right = line(series, &[])?;
    ensure!(right == format!("{} {port}", broker.label()), "{right}");
    Ok(())
}

pub async fn unusable_folder() -> Result<()> {
    let paths = folder("unusable");
    fs::create_dir_all(&paths.target)?;
    fs::write(paths.data(), "a file where a folder is needed")?;
    let Err(e) = Broker::acquire(&paths, &|_| {}).await else {
        bail!("a broker in a file");
    };
    ensure!(
        e.why.contains("needs the folder") && e.why.lines().count() == 1,
        "{e}"
    );
    Ok(())
}
