//! What a rollout did and how long each step took, as spans for a collector of OpenTelemetry.
//!
//! It is in builds with the feature `otel` only, and off unless a collector was named. Each node tells its own part, at the end of it, by its
//! own clock: an origin the rollout and its waves, an agent what it did for it. All of it is one trace without anyone passing a context on,
//! since the order's digest gives the trace and the rollout's span their numbers. Nothing waits for a collector: what cannot be told is
//! said so in the log, and lost.
//!
//! * `spans` makes spans of facts, phases and timelines; `telling` hears of those, and is all that knows OpenTelemetry's library.

#[cfg(feature = "otel")]
mod spans;
#[cfg(feature = "otel")]
mod telling;
#[cfg(all(test, feature = "otel"))]
mod tests;

#[cfg(feature = "otel")]
pub(crate) use telling::Teller;

use hyper::Uri;
use std::fmt;
use std::str::FromStr;

/// Whether this program can tell them.
pub const CAN_BE_TOLD: bool = cfg!(feature = "otel");

/// Where a collector takes spans, as OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(String);

/// The path at which collectors take spans, behind the one that was named.
const TRACES: &str = "v1/traces";

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HOW: &str = "write the address of a collector that takes OTLP over HTTP: http://127.0.0.1:4318";
        let uri: Uri = text.parse().map_err(|_| HOW)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(HOW)?;
        match (uri.scheme_str(), uri.query()) {
            (Some("http"), None) => {}
            (Some("https"), _) => {
                return Err(
                    "spans are told over plain HTTP: run a collector on this machine, which tells others over TLS"
                        .to_owned(),
                );
            }
            _ => return Err(HOW.to_owned()),
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self(format!("http://{authority}{path}/{TRACES}")))
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod addresses {
    use super::*;

    #[test]
    fn a_collector_is_named_by_an_address_without_tls() {
        let of = |text: &str| text.parse::<Collector>().map(|collector| collector.to_string());
        assert_eq!(of("http://127.0.0.1:4318"), Ok("http://127.0.0.1:4318/v1/traces".to_owned()));
        assert_eq!(of("http://collector:4318/tenant/"), Ok("http://collector:4318/tenant/v1/traces".to_owned()));
        assert!(of("https://collector").is_err_and(|why| why.contains("TLS")));
        for wrong in ["", "127.0.0.1:4318", "http://", "ftp://a", "http://me:secret@a", "http://a/?x", "http://a b"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
