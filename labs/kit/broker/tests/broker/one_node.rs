//! The node that all commands share: there is one, it is private, and its counts are exact.

use super::*;

pub async fn one_node_for_all() -> Result<()> {
    let paths = shared();
    let commands: Vec<_> = (0..3).map(|_| other_command(paths, &[]).spawn()).collect();
    let broker = acquire(paths).await?;
    for command in commands {
        let line = printed(command?.wait_with_output()?);
        ensure!(
            line == format!("{} {}", broker.label(), broker.address.port),
            "{line}"
        );
    }
    ensure!(broker.origin == Origin::Private { slot: 0 }, "{broker:?}");
    let start = Instant::now();
    acquire(paths).await?;
    ensure!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

pub async fn secrets_are_private() -> Result<()> {
    let broker = acquire(shared()).await?;
    let password = &broker.address.password;
    ensure!(!format!("{broker:?}").contains(password));
    let mut folders = vec![shared().data().join("broker")];
    let mut holders = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes
                .windows(password.len())
                .any(|w| w == password.as_bytes())
            {
                let mode = fs::metadata(&path)?.permissions().mode();
                let name = path.file_name().unwrap_or_default();
                ensure!(
                    name == "state.json" || name == "rabbitmq.conf",
                    "the password is in {}",
                    path.display()
                );
                ensure!(mode & 0o777 == 0o600, "{}: mode {mode:o}", path.display());
                holders += 1;
            }
        }
    }
    ensure!(holders == 2, "the password is in {holders} files");
    let node = only_node(shared()).await?;
    let folder = node.log.parent().context("no folder")?;
    let mode = fs::metadata(folder)?.permissions().mode();
    ensure!(mode & 0o777 == 0o700, "the node's folder has mode {mode:o}");
    let everything = printed(
        Command::new("ps")
            .args(["-A", "-ww", "-o", "args"])
            .output()?,
    );
    ensure!(
        !everything.contains(password),
        "the password is in the arguments of a process"
    );
    Ok(())
}

#[cfg(target_os = "linux")]
pub async fn loopback_only() -> Result<()> {
    acquire(shared()).await?;
    let pid = only_node(shared()).await?.node_pid.context("no pid")?;
    let mut inodes = Vec::new();
    for fd in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = fs::read_link(fd?.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target
            .strip_prefix("socket:[")
            .and_then(|t| t.strip_suffix(']'))
        {
            inodes.push(inode.to_owned());
        }
    }
    let mut listeners = 0;
    for table in ["tcp", "tcp6"] {
        for line in fs::read_to_string(format!("/proc/net/{table}"))?.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..] else {
                continue;
            };
            if inodes.iter().any(|ours| ours == inode) {
                // 127.0.0.1 in the kernel's notation.
                ensure!(local.starts_with("0100007F:"), "listens on {local}");
                listeners += 1;
            }
        }
    }
    ensure!(listeners == 3, "{listeners} listeners");
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub async fn loopback_only() -> Result<()> {
    Ok(())
}

pub async fn vhosts() -> Result<()> {
    let broker = acquire(shared()).await?;
    let name = "a/b ü%";
    broker.create_vhost(name).await?;
    let (connection, _channel) = channel(&broker, name).await?;
    ensure!(broker.queue(name, "viewed").await?.is_none());
    connection.close(200, "done".into()).await?;
    broker.delete_vhost(name).await?;
    broker.delete_vhost(name).await.context("a second time")?;
    ensure!(
        channel(&broker, name).await.is_err(),
        "the vhost is still there"
    );
    Ok(())
}

pub async fn counts_are_exact() -> Result<()> {
    let broker = acquire(shared()).await?;
    let vhost = "counts";
    broker.create_vhost(vhost).await?;
    let (_connection, channel) = channel(&broker, vhost).await?;
    for round in 1..=20 {
        publish_to_durable(&channel, "viewed", 1).await?;
        ensure!(queue(&broker, vhost, "viewed").await?.ready == round);
    }
    channel.basic_qos(2, BasicQosOptions::default()).await?;
    let mut consumer = channel
        .basic_consume(
            "viewed".into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    for _ in 0..2 {
        consumer.next().await.context("no delivery")??;
    }
    let viewed = queue(&broker, vhost, "viewed").await?;
    ensure!((viewed.ready, viewed.unacked) == (18, 2), "{viewed:?}");
    ensure!(viewed.consumers == Some(1), "{viewed:?}");
    ensure!(
        viewed.durable && !viewed.exclusive && !viewed.auto_delete,
        "{viewed:?}"
    );
    ensure!(viewed.arguments == serde_json::json!({}), "{viewed:?}");
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    // Several: RabbitMQ 4.0 may list a young queue late, and then only its lock shows that it exists.
    for name in (1..=20).map(|number| format!("mine-{number}")) {
        channel
            .queue_declare(name.as_str().into(), exclusive, FieldTable::default())
            .await?;
        let mine = queue(&broker, vhost, &name).await?;
        ensure!(mine.exclusive && mine.consumers.is_none(), "{mine:?}");
    }
    broker.delete_vhost(vhost).await
}

/// RabbitMQ 3.10 lists them with `"exclusive": null`; every series reports their messages late.
pub async fn quorum_queues_are_counted_exactly() -> Result<()> {
    let broker = acquire(shared()).await?;
    let vhost = "quorum";
    broker.create_vhost(vhost).await?;
    let (_connection, channel) = channel(&broker, vhost).await?;
    let mut arguments = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), kind);
    for round in 1..=20 {
        publish_to(&channel, "sure", arguments.clone(), 1).await?;
        let sure = queue(&broker, vhost, "sure").await?;
        ensure!(sure.ready == round, "round {round}: {sure:?}");
    }
    channel.basic_qos(2, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume("sure".into(), "".into(), options, FieldTable::default())
        .await?;
    for _ in 0..2 {
        consumer.next().await.context("no delivery")??;
    }
    let sure = queue(&broker, vhost, "sure").await?;
    ensure!(sure.ready == 18 && sure.consumers == Some(1), "{sure:?}");
    ensure!(sure.is_quorum() && sure.durable, "{sure:?}");
    ensure!(!sure.exclusive && !sure.auto_delete, "{sure:?}");
    broker.delete_vhost(vhost).await
}

pub async fn users_have_the_rights_they_are_given() -> Result<()> {
    let broker = acquire(shared()).await?;
    let (vhost, user, password) = ("rights", "swept.few", "p@ss/wörd");
    broker.create_vhost(vhost).await?;
    broker.create_user(user, password).await?;
    let address = Address {
        user: user.to_owned(),
        password: password.to_owned(),
        ..broker.address.clone()
    };
    let url = address.url(vhost);
    let connect = || broker::connect(&url, user);
    ensure!(
        connect().await.is_err(),
        "the broker accepted a user without any rights"
    );
    broker.permit(user, vhost, ["mine", "", ""]).await?;
    let connection = connect().await?;
    for (name, may) in [("mine", true), ("yours", false)] {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions::default();
        let declared = channel
            .queue_declare(name.into(), options, FieldTable::default())
            .await;
        ensure!(declared.is_ok() == may, "{name}: {declared:?}");
    }
    // The sweep deletes users that a killed run has left behind; others stay.
    broker.sweep("swept.", |name| name != user).await;
    ensure!(connect().await.is_ok(), "the sweep deleted a user in use");
    broker.sweep("swept.", |_| true).await;
    ensure!(connect().await.is_err(), "the sweep left an abandoned user");
    broker.delete_vhost(vhost).await
}

pub async fn bindings_are_those_of_a_queue() -> Result<()> {
    let broker = acquire(shared()).await?;
    let vhost = "bindings";
    broker.create_vhost(vhost).await?;
    let (_connection, channel) = channel(&broker, vhost).await?;
    publish_to_durable(&channel, "a/b", 1).await?;
    ensure!(broker.bindings(vhost, "a/b").await?.is_empty());
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(
            "a/b".into(),
            "amq.topic".into(),
            "log.#".into(),
            options,
            table,
        )
        .await?;
    let bindings = broker.bindings(vhost, "a/b").await?;
    let pairs: Vec<_> = bindings
        .iter()
        .map(|binding| (&*binding.source, &*binding.routing_key))
        .collect();
    ensure!(pairs == [("amq.topic", "log.#")], "{pairs:?}");
    broker.delete_vhost(vhost).await
}

/// From the moment at which the broker is told, each publish is nacked, and each one after is not.
/// A channel that a quorum queue has refused once stays refused (3.10.8), so that is asked on a new one.
pub async fn a_queue_refuses_publishes() -> Result<()> {
    let broker = acquire(shared()).await?;
    let vhost = "refuses";
    broker.create_vhost(vhost).await?;
    let (connection, first) = channel(&broker, vhost).await?;
    for kind in ["classic", "quorum"] {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        publish_to(&first, kind, arguments, 1).await?;
        for round in 0..10 {
            let channel = connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            broker.refuse_publishes(vhost, kind).await?;
            for _ in 0..3 {
                let taken = confirmed(&channel, kind).await?;
                ensure!(!taken, "{kind}, round {round}: taken");
            }
            broker.accept_publishes(vhost, kind).await?;
            if kind == "classic" {
                let taken = confirmed(&channel, kind).await?;
                ensure!(taken, "round {round}: refused");
            }
        }
    }
    broker.delete_vhost(vhost).await
}

/// Whether the broker acks a publish to `queue`.
async fn confirmed(channel: &Channel, queue: &str) -> Result<bool> {
    let (options, about) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = channel.basic_publish("".into(), queue.into(), options, b"a message", about);
    Ok(sent.await?.await?.is_ack())
}
