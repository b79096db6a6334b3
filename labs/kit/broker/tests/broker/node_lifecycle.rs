//! Nodes that are killed, unused, or lose their keeper.

use super::*;

pub async fn own_nodes() -> Result<()> {
    let paths = folder("own");
    let quiet = |_: &str| {};
    let first = OwnNode::acquire(&paths, &quiet).await?;
    first.broker().create_vhost("v").await?;
    let (_connection, before) = channel(first.broker(), "v").await?;
    publish_to_durable(&before, "viewed", 3).await?;
    let start = Instant::now();
    first.kill().await?;
    // The second node boots while the first one restarts.
    let second = OwnNode::acquire(&paths, &quiet).await?;
    first.up().await?;
    println!(
        "killed, and up with a second node after {:?}",
        start.elapsed()
    );
    ensure!(queue(first.broker(), "v", "viewed").await?.ready == 3);
    ensure!(first.broker().origin == Origin::Private { slot: 1 });
    ensure!(second.broker().origin == Origin::Private { slot: 2 });
    drop(first);
    let again = OwnNode::acquire(&paths, &quiet).await?;
    ensure!(again.broker().origin == Origin::Private { slot: 1 });
    let left = again.broker().queue("v", "viewed").await;
    ensure!(left.is_err(), "the vhost of the last user is still there");
    ensure!(again.freeze(), "cannot freeze");

    let nodes = broker::status(&paths).await;
    let pids = nodes
        .iter()
        .flat_map(|node| [node.keeper_pid, node.node_pid]);
    let pids: Vec<i32> = pids.flatten().collect();
    ensure!(pids.len() == 4, "{nodes:?}");
    let start = Instant::now();
    ensure!(broker::down(&paths).await? == 2);
    println!("two nodes down after {:?}", start.elapsed());
    for pid in pids {
        ensure!(!alive(pid), "process {pid} still runs");
    }
    ensure!(broker::status(&paths).await.is_empty());
    let left = paths.data().join("broker/node-1/run");
    ensure!(!left.exists(), "{} still exists", left.display());
    Ok(())
}

pub async fn keeper_killed() -> Result<()> {
    let paths = folder("keeper");
    let first = acquire(&paths).await?;
    let node = only_node(&paths).await?;
    let [keeper, vm] = [node.keeper_pid, node.node_pid].map(|pid| pid.unwrap_or_default());
    ensure!(alive(keeper) && alive(vm));
    Command::new("kill")
        .args(["-9", &keeper.to_string()])
        .status()?;
    until(
        "the node ends with its keeper",
        Duration::from_secs(3),
        || !alive(vm),
    )
    .await?;
    let second = acquire(&paths).await?;
    ensure!(
        first.address != second.address,
        "the state of the killed keeper was used"
    );
    ensure!(broker::down(&paths).await? == 1);
    Ok(())
}

pub async fn idle_stop() -> Result<()> {
    let paths = folder("idle");
    let env = [("LAB_BROKER_IDLE_SECONDS", "2")];
    let line = printed(other_command(&paths, &env).output()?);
    ensure!(line.contains("private node"), "{line}");
    let node = only_node(&paths).await?;
    let broker = node.broker.context("not up")?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        broker.touch();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let pids = [node.keeper_pid, node.node_pid].map(|pid| pid.unwrap_or_default());
    ensure!(pids.iter().all(|pid| alive(*pid)), "stopped while in use");
    until("it stops by itself", Duration::from_secs(5), || {
        !pids.iter().any(|pid| alive(*pid))
    })
    .await?;
    ensure!(!paths.data().join("broker/node-0/state.json").exists());
    Ok(())
}
