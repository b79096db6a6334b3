//! Where we wanted to go, for whoever reads an error.

use lapin::uri::AMQPUri;

/// The user, the vhost and the broker in `url`. Never the password.
pub fn of(url: &str) -> String {
    // HOLE 6: read the URL, and say what may be said.
    match url.parse::<AMQPUri>() {
        Ok(AMQPUri {
            authority, vhost, ..
        }) => {
            let user = authority.userinfo.username;
            let (host, port) = (authority.host, authority.port);
            format!("as user `{user}` in vhost `{vhost}` of {host}:{port}")
        }
        // Not in the parser's words: they may quote all of it.
        Err(_) => "AMQP_URL cannot be read".to_owned(),
    }
    // END HOLE 6
}
