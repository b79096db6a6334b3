//! Where we tried to connect, for the reader of an error.

use lapin::uri::AMQPUri;

/// The user, the vhost and the broker in `url`. Never the password.
pub fn of(url: &str) -> String {
    match url.parse::<AMQPUri>() {
        Ok(uri) => {
            let (vhost, at) = (uri.vhost, uri.authority);
            let (user, host, port) = (at.userinfo.username, at.host, at.port);
            format!("as user `{user}` in vhost `{vhost}` of {host}:{port}")
        }
        // We drop the parser's own error: it may quote the whole URL.
        Err(_) => "AMQP_URL cannot be read".to_owned(),
    }
}
