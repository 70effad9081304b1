//! A release: what an application is in one version, and how it is put live; signed where it is made.

use crate::encoding::Malformed;
use crate::{AppName, ContentSpec, FleetId, UnixTime};

/// The payload of a signed release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The fleet it is for; any other refuses it.
    pub fleet: FleetId,
    /// The application.
    pub app: AppName,
    /// What people call this version; at most 64 bytes of UTF-8 without control characters.
    pub version: String,
    /// When it was made.
    pub created: UnixTime,
    /// The content: a manifest and its pieces.
    pub content: ContentSpec,
    /// Modification times and owners, beside the content: a plain blob ([`crate::attributes`]).
    pub attributes: Option<ContentSpec>,
    /// How many entries the manifest has, and the sum of its files' lengths in bytes: bounds for whoever lays it out.
    pub entries: u32,
    /// The sum of the lengths of all regular files, in bytes.
    pub size: u64,
    /// How it is put live.
    pub instructions: Instructions,
}

/// How a release is put live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instructions {
    /// The absolute path of the symlink that is swung, bytes as on disk: normal components only, at most 1,024 bytes.
    pub path: Vec<u8>,
    /// How long a node must stay healthy after the switch before it is confirmed, in milliseconds.
    pub health_window_ms: u32,
    /// How many laid-out releases a node keeps besides the live one.
    pub keep: u8,
}

impl Release {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(_bytes: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }
}
