//! The playground's files, as `build.rs` packed them into the binary.

use std::{io::Read as _, sync::LazyLock};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::read::GzDecoder;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

include!(concat!(env!("OUT_DIR"), "/playground.rs"));

/// A packed file.
pub struct File {
    name: &'static str,
    gzip: &'static [u8],
}

/// A tab of the playground.
#[derive(Serialize)]
pub struct Operation {
    name: &'static str,
    query: &'static str,
    variables: &'static str,
}

/// A file that can be served.
pub struct Asset {
    file: &'static File,
    etag: HeaderValue,
}

static ASSETS: LazyLock<Vec<Asset>> =
    LazyLock::new(|| FILES.iter().filter_map(Asset::of).collect());

impl Asset {
    /// The file of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.file.name == name)
    }

    fn of(file: &'static File) -> Option<Self> {
        // Weak: the same for the compressed and the plain bytes.
        let etag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(file.gzip)));
        Some(Self { file, etag: HeaderValue::try_from(etag).ok()? })
    }

    /// The file, or word that the caller has it already.
    pub fn answer(&self, asked: &HeaderMap) -> Response {
        let mut response = match () {
            () if self.is_known(asked) => StatusCode::NOT_MODIFIED.into_response(),
            () if takes_gzip(asked) => {
                let encoding = [(header::CONTENT_ENCODING, "gzip")];
                (encoding, Bytes::from_static(self.file.gzip)).into_response()
            }
            () => match self.unpacked() {
                Ok(bytes) => bytes.into_response(),
                Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            },
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type());
        headers.insert(header::ETAG, self.etag.clone());
        // The names stay when the server is replaced, so each use asks.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    fn is_known(&self, asked: &HeaderMap) -> bool {
        let known = asked.get_all(header::IF_NONE_MATCH).iter();
        let mut known = known.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        known.any(|tag| tag.trim() == "*" || self.etag == tag.trim())
    }

    fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(self.file.gzip).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.file.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("txt") => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        })
    }
}

/// Whether a caller takes gzip (RFC 9110 §12.5.3).
fn takes_gzip(asked: &HeaderMap) -> bool {
    let accepted = asked.get_all(header::ACCEPT_ENCODING).iter();
    let accepted = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect::<Vec<_>>();
    let weight = |coding: &str| {
        accepted.iter().find_map(|entry| {
            let (name, weight) = entry.split_once(';').unwrap_or((*entry, "q=1"));
            let weight = weight.trim().strip_prefix("q=")?.parse::<f32>().ok()?;
            name.trim().eq_ignore_ascii_case(coding).then_some(weight)
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(
                takes_gzip(&asking(header::ACCEPT_ENCODING, accepted)),
                expected,
                "{accepted}"
            );
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn both_forms_are_of_the_same_file_and_a_known_one_is_not_sent() {
        let page = Asset::named("index.html").unwrap();
        let plain = page.answer(&HeaderMap::new());
        let packed = page.answer(&asking(header::ACCEPT_ENCODING, "gzip"));
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(page.unpacked().unwrap(), include_bytes!("../../../playground/index.html"));
        let etag = plain.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = page.answer(&asking(header::IF_NONE_MATCH, &etag));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = page.answer(&asking(header::IF_NONE_MATCH, "W/\"other\""));
        assert_eq!(other.status(), StatusCode::OK);
    }
}
