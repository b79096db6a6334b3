//! A proxy from this machine into a host: a loopback port here leads to an address there. It
//! does not use the cable, so it also works while the cable is pulled.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::process::Child;

use super::host::Host;
use super::tool::command;

/// The hidden first argument of the proxy's process.
pub const ARGUMENT: &str = "__hosts-proxy";

/// A running proxy. Dropping it kills its process.
pub struct HostProxy {
    /// The port on this machine's loopback.
    pub port: u16,
    _process: Child,
}

impl HostProxy {
    /// Starts a proxy to `address` as `host` sees it, such as `127.0.0.1:15672`.
    ///
    /// # Errors
    /// When there is no port, or the process cannot be started.
    pub fn start(host: Host, address: &str) -> Result<Self> {
        // A socket stays in the namespace that made it, so the process on the host can accept
        // this machine's connections.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        let port = listener.local_addr()?.port();
        let [nsenter, net] = host.enter();
        let process = command([&nsenter, &net])
            // The file of this program may have been replaced by a build; this path still works.
            .arg(format!("/proc/{}/exe", std::process::id()))
            .arg(ARGUMENT)
            .arg(address)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start nsenter")?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

/// The `main` of the proxy's process: its standard input is the listening socket.
pub fn main(args: &[OsString]) -> i32 {
    let Some(address) = args.first().and_then(|address| address.to_str()) else {
        return 2;
    };
    match actix_web::rt::System::new().block_on(serve(address)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    }
}

async fn serve(address: &str) -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (mut here, _) = listener.accept().await?;
        let address = address.to_owned();
        tokio::task::spawn_local(async move {
            // If the host refuses the connection, `here` is dropped and so closed.
            if let Ok(mut there) = TcpStream::connect(&address).await {
                let _ = here.set_nodelay(true);
                let _ = there.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            }
        });
    }
}
