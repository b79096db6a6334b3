//! lapin's `Connection::connect_uri`, for a caller that may drop it, as a timeout does.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Error, Result, runtime};
use tokio::sync::watch;

/// Connects as `Connection::connect_uri` does, and leaves nothing behind when it is dropped.
///
/// lapin 4.12.3 gives each connection a thread, and sets no deadline for the handshake. When the
/// broker never answers, dropping lapin's future drops only a promise: thread and socket stay. So
/// we keep a handle of the socket, and shut the socket down when the caller drops our future.
/// lapin's thread then reads the end of the stream, and ends.
///
/// # Errors
/// lapin's: the broker cannot be reached, or refuses the connection.
pub async fn connect(uri: AMQPUri, properties: ConnectionProperties) -> Result<Connection> {
    // This future owns the sender: when the caller drops it, `wait_for` fails.
    let (connected, outcome) = watch::channel(false);
    let runtime = runtime::default_runtime()?;
    let connecting = Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            let mut outcome = outcome.clone();
            let stream = tokio::select! {
                stream = uri.connect_async(&runtime) => stream?,
                Err(_) = outcome.wait_for(|connected| *connected) => return Err(given_up()),
            };
            if let AsyncTcpStream::Plain(plain) = &stream {
                let socket = TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?);
                tokio::spawn(async move {
                    if outcome.wait_for(|connected| *connected).await.is_err() {
                        // Fails when the broker has closed the socket already, which is fine.
                        let _ = socket.shutdown(Shutdown::Both);
                    }
                });
            }
            Ok(stream)
        },
        properties,
    );
    let connection = connecting.await?;
    connected.send_replace(true);
    Ok(connection)
}

fn given_up() -> Error {
    std::io::Error::from(ErrorKind::TimedOut).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lapin::ConnectionProperties;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_dropped_connect_closes_its_socket() -> anyhow::Result<()> {
        let silent = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("amqp://{}", silent.local_addr()?);
        let uri = url.parse().map_err(anyhow::Error::msg)?;
        let connecting = super::connect(uri, ConnectionProperties::default());
        let taken = tokio::spawn(async move { silent.accept().await });
        assert!(
            timeout(Duration::from_millis(100), connecting)
                .await
                .is_err()
        );
        let (mut socket, _) = taken.await??;
        let mut heard = Vec::new();
        timeout(Duration::from_secs(5), socket.read_to_end(&mut heard)).await??;
        assert_eq!(heard, b"AMQP\x00\x00\x09\x01");
        Ok(())
    }
}
