//! The film that the video services stream: `media/flixtube.mp4`, made by ourselves
//! (`media/README.md` has the command).

use actix_web::HttpResponse;

/// Where the film lies, as the services name it in `videoPath`.
pub const PATH: &str = "./videos/flixtube.mp4";

/// The whole file. It is in the program, so that a service finds it wherever it is started.
pub const MP4: &[u8] = include_bytes!("../media/flixtube.mp4");

/// An answer `200 OK` that streams the film; add headers as you need.
///
/// The length is announced: a client then knows a film that was cut off from a whole one.
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
    fn it_is_a_small_mp4_that_can_start_at_once() {
        let at = |name: &[u8]| MP4.windows(4).position(|w| w == name);
        assert_eq!(at(b"ftyp"), Some(4));
        assert!(
            at(b"moov") < at(b"mdat"),
            "the index stands before the pictures"
        );
        assert!((40_000..120_000).contains(&MP4.len()), "{}", MP4.len());
    }
}
