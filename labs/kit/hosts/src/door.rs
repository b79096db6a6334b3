//! A door from this machine into a host: a loopback port here that leads to an address there,
//! whichever way the cable is.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::process::Child;

use super::place::Host;
use super::tool::command;

/// The hidden first argument of the process that stands in the door.
pub const ARGUMENT: &str = "__hosts-door";

/// An open door. Dropped, it is shut.
pub struct Door {
    /// The port on this machine's loopback.
    pub port: u16,
    _process: Child,
}

impl Door {
    /// Opens a door to `address` as `host` sees it, such as `127.0.0.1:15672`.
    ///
    /// # Errors
    /// When there is no port, or the process cannot be started.
    pub fn open(host: Host, address: &str) -> Result<Self> {
        // The socket stays one of this machine's, wherever the process goes that has it.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        let port = listener.local_addr()?.port();
        let [nsenter, net] = host.enter();
        let process = command([&nsenter, &net])
            // This very program, also when a build has replaced its file meanwhile.
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

/// The door's own `main`: its standard input is the listening socket.
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
            // Who is not let in there is hung up on here.
            if let Ok(mut there) = TcpStream::connect(&address).await {
                let _ = here.set_nodelay(true);
                let _ = there.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            }
        });
    }
}
