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

pub async fn killed_again() -> Result<()> {
    let paths = folder("again");
    // The log of an earlier run, and its node, if that run failed.
    broker::down(&paths).await?;
    let _ = fs::remove_dir_all(paths.data());
    let node = OwnNode::acquire(&paths, &|_: &str| {}).await?;
    node.broker().create_vhost("v").await?;
    let (_connection, channel) = channel(node.broker(), "v").await?;
    publish_to_durable(&channel, "viewed", 3).await?;
    let slot = paths.data().join("broker/node-1");
    let noted = |words: &str| {
        fs::read_to_string(slot.join("log/keeper.log")).is_ok_and(|log| log.contains(words))
    };
    let keeper = only_node(&paths).await?.keeper_pid.context("no keeper")?;
    node.kill().await?;
    node.up().await?;
    ensure!(!noted("standby"), "a standby before anybody needs one");
    let standby = "the killed node has a standby";
    until(standby, Duration::from_secs(10), || noted("a standby")).await?;
    let started = children(keeper)?;
    ensure!(started.len() == 2, "processes of the keeper: {started:?}");
    node.kill().await?;
    node.up().await?;
    ensure!(noted("the standby boots"), "it was not used");
    ensure!(children(keeper)?.len() == 1);
    ensure!(queue(node.broker(), "v", "viewed").await?.ready == 3);
    // A standby that has ended is none.
    until("another standby", Duration::from_secs(10), || {
        children(keeper).is_ok_and(|started| started.len() == 2)
    })
    .await?;
    let last = children(keeper)?;
    let standby = last.iter().find(|pid| !started.contains(pid));
    signal("-9", *standby.context("no new process")?)?;
    node.kill().await?;
    node.up().await?;
    ensure!(queue(node.broker(), "v", "viewed").await?.ready == 3);
    // A keeper that is killed takes both with it, when the standby only waits, too.
    let loaded = || {
        let console = fs::read(slot.join("log/console.log")).unwrap_or_default();
        String::from_utf8_lossy(&console).contains("standby_loaded")
    };
    until("another one waits", Duration::from_secs(15), loaded).await?;
    let last = children(keeper)?;
    ensure!(last.len() == 2, "processes of the keeper: {last:?}");
    signal("-9", keeper)?;
    until("both end with their keeper", Duration::from_secs(5), || {
        !last.iter().any(|pid| alive(*pid))
    })
    .await?;
    broker::down(&paths).await?;
    Ok(())
}

/// The processes that a process has started.
fn children(pid: i32) -> Result<Vec<i32>> {
    let listed = Command::new("pgrep")
        .args(["-P", &pid.to_string()])
        .output()?;
    let listed = String::from_utf8(listed.stdout)?;
    Ok(listed.lines().map(str::parse).collect::<Result<_, _>>()?)
}

fn signal(signal: &str, pid: i32) -> Result<()> {
    let sent = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()?;
    ensure!(sent.success(), "cannot signal process {pid}");
    Ok(())
}

pub async fn keeper_killed() -> Result<()> {
    let paths = folder("keeper");
    let first = acquire(&paths).await?;
    let node = only_node(&paths).await?;
    let [keeper, vm] = [node.keeper_pid, node.node_pid].map(|pid| pid.unwrap_or_default());
    ensure!(alive(keeper) && alive(vm));
    signal("-9", keeper)?;
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
