//! The film that the video services stream: `media/flixtube.mp4`, made by ourselves
//! (`media/README.md` has the command).

use actix_web::HttpResponse;

/// The path of the film, as the services write it in `videoPath`.
pub const PATH: &str = "./videos/flixtube.mp4";

/// The whole file, compiled into the program: a service has it in every working directory.
pub const MP4: &[u8] = include_bytes!("../media/flixtube.mp4");

/// The start of a `200 OK` with the film's type; add headers, then the body.
///
/// actix sends the body's length first, so a client can tell a cut film from a whole one.
#[must_use]
pub fn response() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.content_type("video/mp4");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_small_mp4_that_starts_before_it_is_whole() {
        let at = |name: &[u8]| MP4.windows(4).position(|w| w == name);
        assert_eq!(at(b"ftyp"), Some(4));
        assert!(
            at(b"moov") < at(b"mdat"),
            "the index stands before the pictures"
        );
        assert!((40_000..120_000).contains(&MP4.len()), "{}", MP4.len());
    }
}
