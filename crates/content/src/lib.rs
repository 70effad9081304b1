//! What the bytes are: digests, pieces, manifests, releases, orders, facts, signatures, and their encodings.
//!
//! Everything here is a pure function of its arguments: no file, clock, socket, thread or randomness. The crate
//! *names* content; it never fetches, stores or decides.
//!
//! Five words, before any API:
//!
//! * a **digest** is the BLAKE3 hash of some bytes ([`Digest`]);
//! * a **piece** is a part of content with its own digest, the unit of have and want ([`Piece`], [`PieceNo`]);
//! * a **blob** is one byte string, cut into pages by its length alone, and named by the digest of its root page
//!   ([`BlobRef`], [`blob`]);
//! * a **manifest** is a blob that lists the entries of a tree and the pieces of its files ([`manifest`]);
//! * a **content** is what a swarm moves: a blob, and the pieces that it names if it is a manifest ([`ContentSpec`]).

pub mod attributes;
pub mod backup;
pub mod blob;
pub mod care;
pub mod compare;
pub mod cut;
mod digest;
pub mod directive;
pub mod encoding;
pub mod fact;
mod id;
pub mod kept;
mod limit;
pub mod manifest;
pub mod order;
pub mod owner;
pub mod powers;
pub mod release;
pub mod root;
pub mod selector;
pub mod sign;
pub mod software;
mod spec;
pub mod template;

pub use backup::Backup;
pub use blob::BlobRef;
pub use digest::{Digest, Digested, Hasher};
pub use directive::Directive;
pub use fact::Fact;
pub use id::{
    AppName, BadName, ContentId, FleetId, KeyId, Label, Labels, NodeId, OrderId, ReleaseId, Role, TokenId, UnixTime,
};
pub use limit::{Rate, Scope};
pub use manifest::Manifest;
pub use order::Order;
pub use powers::{Act, Powers};
pub use release::Release;
pub use root::Root;
pub use selector::Selector;
pub use sign::{PayloadKind, PublicKey, Signed, SigningKey};
pub use software::SoftwareVersion;
pub use spec::{Bitmap, ContentSpec, Piece, PieceNo};
