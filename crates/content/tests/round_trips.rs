//! Every document round trips, and no byte string decodes to a value that would be encoded as other bytes.
//!
//! Three properties of each kind: what is encoded decodes to itself; random bytes behind a good header, and encodings
//! with a few bytes changed, cut out or put in, never panic; and whatever does decode encodes to the same bytes again.

use tiding_content as content;

use content::attributes::{Attribute, Attributes};
use content::care::{Health, Hook, Hooks, Probe};
use content::encoding::{Decoder, Encode, Encoder, Malformed};
use content::fact::{JournalName, Offer, Position};
use content::kept::{KeptKind, KeptPath};
use content::manifest::{Builder, Entry, Extent, Kind, OutlineReader};
use content::order::{AtOnce, Restraint, Unreachable, Wave};
use content::owner::Owner;
use content::release::Instructions;
use content::root::Operator;
use content::selector::{Condition, Rule};
use content::sign::Signature;
use content::{
    Act, AppName, Bitmap, BlobRef, ContentId, ContentSpec, Digest, Fact, FleetId, KeyId, Label, Labels, Manifest,
    NodeId, Order, OrderId, PayloadKind, Piece, PieceNo, Powers, Rate, Release, ReleaseId, Role, Root, Scope, Selector,
    Signed, SigningKey, TokenId, UnixTime,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use std::fmt::Debug;

/// One change to an encoding.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Truncate),
    ];
    vec(one, 1..4)
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let len = bytes.len();
    match damage {
        _ if len == 0 => {}
        Damage::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Damage::Insert(at, byte) => bytes.insert(at.index(len), *byte),
        Damage::Remove(at) => {
            bytes.remove(at.index(len));
        }
        Damage::Truncate(at) => bytes.truncate(at.index(len)),
    }
}

/// `Manifest` is no [`Encode`], because its header has a fixed width; here it is treated like the others.
#[derive(Debug, PartialEq)]
struct ManifestBytes(Manifest);

impl Encode for ManifestBytes {
    const WHAT: &'static str = "manifest";

    fn put(&self, to: &mut Encoder) {
        to.raw(&self.0.encode());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Manifest::decode(from.raw(from.remaining())?).map(Self)
    }
}

fn canonical<T: Encode>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = T::decode(bytes) {
        prop_assert_eq!(value.encode(), bytes);
    }
    Ok(())
}

fn check<T: Encode + PartialEq + Debug>(value: &T, damages: &[Damage]) -> Result<(), TestCaseError> {
    let mut bytes = value.encode();
    let decoded = T::decode(&bytes).ok();
    prop_assert_eq!(decoded.as_ref(), Some(value));
    for damage in damages {
        apply(&mut bytes, damage);
        canonical::<T>(&bytes)?;
    }
    Ok(())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn app() -> impl Strategy<Value = AppName> {
    "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|name| AppName::new(&name).expect("the pattern is the rule"))
}

fn label() -> impl Strategy<Value = Label> {
    "[a-z0-9][a-z0-9._-]{0,20}".prop_map(|text| Label::new(&text).expect("the pattern is the rule"))
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(label(), label(), 0..6)
}

fn text(max: usize) -> impl Strategy<Value = String> {
    vec("[ -~]|é|✓|\u{10ffff}", 0..20).prop_map(move |chars| {
        let mut text = chars.concat();
        while text.len() > max {
            text.pop();
        }
        text
    })
}

fn name() -> impl Strategy<Value = String> {
    text(63).prop_map(|text| format!("n{text}"))
}

fn time() -> impl Strategy<Value = UnixTime> {
    any::<u64>().prop_map(UnixTime)
}

fn spec() -> impl Strategy<Value = ContentSpec> {
    (digest(), 0..10_000u32, 0..=100u64).prop_map(|(root, pieces, fill)| {
        let bytes = u64::from(pieces) + u64::from(pieces) * (128 * 1024 - 1) * fill / 100;
        ContentSpec { blob: BlobRef { root, len: 21 + 36 * u64::from(pieces) + 1000 * fill }, pieces, bytes }
    })
}

fn plain_spec() -> impl Strategy<Value = ContentSpec> {
    let blob = (digest(), 0..=BlobRef::MAX_LEN).prop_map(|(root, len)| BlobRef { root, len });
    blob.prop_map(|blob| ContentSpec { blob, pieces: 0, bytes: 0 })
}

fn hook() -> impl Strategy<Value = Hook> {
    ("[a-z ]{1,30}", option::of("[a-z]{1,32}"), 1..=3_600_000u32).prop_map(|(line, user, timeout_ms)| Hook {
        line,
        user,
        timeout_ms,
    })
}

fn hooks() -> impl Strategy<Value = Hooks> {
    let hook = || option::of(hook());
    let all = (hook(), hook(), hook(), hook());
    all.prop_map(|(before, after, back, boot)| Hooks { before, after, back, boot })
}

fn probe() -> impl Strategy<Value = Probe> {
    let host = || ("[a-z0-9.:]{1,20}", any::<u16>(), 1..=3_600_000u32);
    prop_oneof![
        hook().prop_map(Probe::Command),
        host().prop_map(|(host, port, timeout_ms)| Probe::Tcp { host, port, timeout_ms }),
        (host(), "/[a-z?=]{0,20}").prop_map(|((host, port, timeout_ms), path)| Probe::Http {
            host,
            port,
            path,
            timeout_ms
        }),
        "[a-z][a-z.]{0,20}".prop_map(Probe::Unit),
    ]
}

fn health() -> impl Strategy<Value = Health> {
    let rounds = (1..=100u8).prop_flat_map(|of| (1..=of, Just(of)));
    (vec(probe(), 0..4), 10..=3_600_000u32, rounds).prop_map(|(probes, every_ms, (need, of))| Health {
        probes,
        every_ms,
        need,
        of,
    })
}

fn kept() -> impl Strategy<Value = Vec<KeptPath>> {
    let owner = option::of((0..u32::MAX, 0..u32::MAX));
    let directory = (0..=0o777u16, owner).prop_map(|(mode, owner)| KeptKind::Directory { mode, owner });
    // Under names of their own, none stands below another.
    btree_map("[a-z]{1,6}", prop_oneof![Just(KeptKind::File), directory], 0..5).prop_map(|paths| {
        let kept = |(name, kind): (String, KeptKind)| KeptPath { path: format!("{name}/x").into_bytes(), kind };
        paths.into_iter().map(kept).collect()
    })
}

fn release() -> impl Strategy<Value = Release> {
    let path = "(/[a-z.]{0,9}[a-z ]){1,5}".prop_map(String::into_bytes);
    let plain = (path, 0..=86_400_000u32, 0..=100u8);
    let owner = option::of(("[a-z]{1,9}", option::of("[a-z0-9]{1,9}")));
    let min_agent = option::of((0..9u32, 0..u32::MAX, 0..9u32).prop_map(|(a, b, c)| content::SoftwareVersion(a, b, c)));
    let owner = (owner, min_agent);
    let instructions = (plain, hooks(), health(), kept(), btree_set("[a-z]{1,6}", 0..4), (proptest::bool::ANY, owner));
    let instructions = instructions.prop_map(
        |((path, health_window_ms, keep), hooks, health, kept, templates, (adopts, (owner, min_agent)))| Instructions {
            path,
            health_window_ms,
            keep,
            hooks,
            health,
            kept,
            templates: templates.into_iter().map(String::into_bytes).collect(),
            adopts,
            min_agent,
            owner: owner.map(|(user, group)| Owner { user, group }),
        },
    );
    let sums = (1..=1u32 << 24, 0..=1u64 << 60);
    let parts = (digest(), app(), name(), time(), spec(), option::of(plain_spec()), sums, instructions);
    parts.prop_map(|(fleet, app, version, created, content, attributes, (entries, size), mut instructions)| {
        let fleet = FleetId(fleet);
        instructions.owner = instructions.owner.filter(|_| attributes.is_some());
        Release { fleet, app, version, created, content, attributes, entries, size, instructions }
    })
}

fn waves() -> impl Strategy<Value = Vec<Wave>> {
    (vec(1..u32::MAX, 0..8), vec(1..=1000u16, 0..7)).prop_map(|(mut counts, mut shares)| {
        counts.sort_unstable();
        shares.sort_unstable();
        let counts = counts.into_iter().map(Wave::Count);
        counts.chain(shares.into_iter().map(Wave::PerMille)).chain([Wave::PerMille(1000)]).collect()
    })
}

fn selector() -> impl Strategy<Value = Selector> {
    let conditions = vec((labels(), 1..5u8), 0..8).prop_map(|drawn| {
        let mut conditions = std::collections::BTreeMap::new();
        for (labels, rule) in drawn {
            let (keys, values): (Vec<_>, Vec<_>) = labels.into_iter().unzip();
            let Some(key) = keys.into_iter().next() else { continue };
            let rule = match rule {
                1 => Rule::In(values),
                2 => Rule::NotIn(values),
                3 => Rule::Has,
                _ => Rule::Lacks,
            };
            conditions.insert(key.clone(), Condition { key, rule });
        }
        Selector::new(conditions.into_values().collect()).expect("a rule for each key")
    });
    prop_oneof![labels().prop_map(|labels| Selector::of(&labels.into_iter().take(16).collect())), conditions]
}

/// Gates after any of the first 16 waves; those that an order has not are taken away.
fn restraint() -> impl Strategy<Value = Restraint> {
    let most = prop_oneof![(1..=u32::MAX).prop_map(Wave::Count), (1..=1000u16).prop_map(Wave::PerMille)];
    let at_once = btree_map(option::of("[a-c]{1,2}"), most, 0..=4);
    let deadline = option::of(1..=Restraint::MAX_DEADLINE_S);
    (btree_set(0..16u8, 0..4), deadline, at_once).prop_map(|(gates, deadline_s, at_once)| Restraint {
        gates: gates.into_iter().collect(),
        deadline_s,
        at_once: at_once
            .into_iter()
            .map(|(by, most)| AtOnce { by: by.map(|key| Label::new(&key).expect("the pattern is the rule")), most })
            .collect(),
    })
}

fn order() -> impl Strategy<Value = Order> {
    let head = (digest(), app(), 1..=u64::MAX, digest(), option::of(digest()));
    let how = (waves(), any::<u32>(), prop_oneof![Just(Restraint::default()), restraint()]).prop_map(
        |(waves, budget, mut restraint)| {
            restraint.gates.retain(|gate| usize::from(*gate) + 1 < waves.len());
            (waves, budget, restraint)
        },
    );
    (head, (selector(), any::<bool>()), how, time(), text(1024)).prop_map(
        |((fleet, app, epoch, release, fallback), (selector, waits), (waves, budget, restraint), created, message)| {
            Order {
                fleet: FleetId(fleet),
                app,
                epoch,
                release: ReleaseId(release),
                fallback: fallback.map(ReleaseId),
                selector,
                unreachable: if waits { Unreachable::Wait } else { Unreachable::Skip },
                waves,
                budget,
                restraint,
                created,
                message,
            }
        },
    )
}

/// Selectors over few keys and few values, so that they often have to do with each other.
fn narrow() -> impl Strategy<Value = Selector> {
    let values = "[a-c](\\|[a-c]){0,2}";
    let condition = prop_oneof![
        ("[x-z]", values).prop_map(|(key, values)| format!("{key}={values}")),
        ("[x-z]", values).prop_map(|(key, values)| format!("{key}!={values}")),
        "[x-z]",
        "![x-z]",
    ];
    vec(condition, 0..4).prop_filter_map("twice the same", |conditions| conditions.join(",").parse().ok())
}

fn few_labels() -> impl Strategy<Value = Labels> {
    let label = |text: String| Label::new(&text).expect("the pattern is the rule");
    btree_map("[x-z]".prop_map(label), "[a-d]".prop_map(label), 0..4)
}

fn powers() -> impl Strategy<Value = Powers> {
    let acts = proptest::sample::subsequence(Act::ALL.to_vec(), 1..=3);
    let apps = vec("[a-z]{1,5}".prop_map(|name| AppName::new(&name).expect("the pattern is the rule")), 0..3);
    (acts, apps, narrow()).prop_map(|(may, apps, on)| Powers::new(may, apps, on))
}

fn root() -> impl Strategy<Value = Root> {
    let key = |n: u8| SigningKey::from_secret(&[n; 32]).public();
    let bounded = (option::of(powers()), btree_set(vec(any::<u8>(), 1..9), 0..=4));
    let shape = (1..=u64::MAX, any::<[u8; 16]>(), time(), 1..=4u8, 1..=4u8, any::<Index>(), any::<Index>(), bounded);
    shape.prop_map(move |(version, nonce, created, roots, operators, root_threshold, operator_threshold, rest)| Root {
        version,
        nonce,
        created,
        root_keys: (0..roots).map(key).collect(),
        root_threshold: root_threshold.index(roots.into()) as u8 + 1,
        operators: (0..operators)
            .map(|n| {
                let powers = rest.0.clone().filter(|_| n > 0).unwrap_or_default();
                Operator { name: format!("{n}"), key: key(50 + n), powers }
            })
            .collect(),
        operator_threshold: operator_threshold.index(operators.into()) as u8 + 1,
        authorities: rest.1.into_iter().collect(),
    })
}

fn signed() -> impl Strategy<Value = Signed> {
    let kind = prop_oneof![Just(PayloadKind::Root), Just(PayloadKind::Release), Just(PayloadKind::Order)];
    let signatures = btree_map(digest().prop_map(KeyId), vec(any::<u8>(), 64), 0..5);
    (kind, vec(any::<u8>(), 0..200), signatures).prop_map(|(kind, payload, signatures)| {
        let bytes = |bytes: Vec<u8>| bytes.try_into().expect("64 bytes were drawn");
        let signatures = signatures.into_iter().map(|(key, sig)| Signature { key, bytes: bytes(sig) }).collect();
        Signed { kind, payload, signatures }
    })
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Agent), Just(Role::Origin), Just(Role::Operator)]
}

fn fact() -> impl Strategy<Value = Fact> {
    let token = || digest().prop_map(TokenId);
    let node = || digest().prop_map(NodeId);
    let order_id = || digest().prop_map(OrderId);
    prop_oneof![
        signed().prop_map(|root| Fact::Rooted { root }),
        (token(), digest(), any::<u32>(), time(), role(), labels()).prop_map(
            |(token, secret, uses, expires, role, labels)| Fact::TokenIssued {
                token,
                secret,
                uses,
                expires,
                role,
                labels
            }
        ),
        token().prop_map(|token| Fact::TokenRevoked { token }),
        (node(), text(64), role(), labels(), option::of(token()))
            .prop_map(|(node, name, role, labels, token)| Fact::Enrolled { node, name, role, labels, token }),
        node().prop_map(|node| Fact::Revoked { node }),
        signed().prop_map(|release| Fact::Published { release }),
        signed().prop_map(|order| Fact::Ordered { order }),
        (app(), order_id(), any::<u8>()).prop_map(|(app, order, wave)| Fact::WaveOpened { app, order, wave }),
        (app(), order_id(), any::<u8>()).prop_map(|(app, order, wave)| Fact::Awaited { app, order, wave }),
        (app(), order_id(), text(1024)).prop_map(|(app, order, why)| Fact::Halted { app, order, why }),
        (app(), order_id(), digest()).prop_map(|(app, order, to)| Fact::FellBack { app, order, to: ReleaseId(to) }),
        (app(), order_id()).prop_map(|(app, order)| Fact::Finished { app, order }),
        (scope(), option::of(any::<u64>().prop_map(Rate))).prop_map(|(scope, rate)| Fact::Limited { scope, rate }),
        (digest(), digest(), plain_spec(), any::<u8>()).prop_map(|(base, target, patch, format)| Fact::Offered(
            Offer { base: ContentId(base), target: ContentId(target), patch, format }
        )),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![labels().prop_map(Scope::Selected), digest().prop_map(|id| Scope::Node(NodeId(id))), Just(Scope::Total)]
}

fn journal() -> impl Strategy<Value = JournalName> {
    prop_oneof![Just(JournalName::Fleet), label().prop_map(JournalName::Datacenter)]
}

fn bitmap() -> impl Strategy<Value = Bitmap> {
    (0..300u32, vec(any::<u32>(), 0..50)).prop_map(|(len, members)| {
        let mut set = Bitmap::empty(len);
        members.into_iter().for_each(|n| {
            set.insert(PieceNo(n % 320));
        });
        set
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let one = (any::<i64>(), any::<u32>(), any::<u32>(), any::<u32>());
    vec(one.prop_map(|(seconds, nanos, uid, gid)| Attribute::nearest(seconds, nanos, uid, gid)), 0..20)
        .prop_map(Attributes)
}

/// What a file of a drawn tree is made of.
#[derive(Debug, Clone)]
enum Run {
    Piece(u8),
    Part(u8, u32, u32),
    Hole(u32),
}

fn run() -> impl Strategy<Value = Run> {
    prop_oneof![
        any::<u8>().prop_map(|n| Run::Piece(n % 16)),
        (any::<u8>(), 0..200u32, 1..200u32).prop_map(|(n, offset, len)| Run::Part(n % 16, offset, len)),
        (1..u32::MAX).prop_map(Run::Hole),
    ]
}

#[derive(Debug, Clone)]
enum Node {
    Directory,
    File(Vec<Run>),
    Symlink(Vec<u8>),
    HardLink(Index),
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        Just(Node::Directory),
        vec(run(), 0..5).prop_map(Node::File),
        vec(1..=255u8, 1..20).prop_map(Node::Symlink),
        any::<Index>().prop_map(Node::HardLink),
    ]
}

/// Piece `n` of the drawn trees: 200 to 400 bytes, so that every drawn part fits.
fn piece(n: u8) -> Piece {
    Piece { digest: Digest::of(&[n]), len: 400 - u32::from(n) % 2 * 200 }
}

fn add_file(builder: &mut Builder, path: &[u8], mode: u16, runs: &[Run]) -> u32 {
    let index = builder.file(path, mode);
    for run in runs {
        match *run {
            Run::Piece(n) => builder.piece(piece(n)),
            Run::Part(n, offset, len) => {
                let pack = builder.open();
                let offset = offset.min(piece(n).len - 1);
                builder.part(pack, offset, len.min(piece(n).len - offset));
                builder.close(pack, piece(n));
            }
            Run::Hole(len) => builder.hole(len.into()),
        }
    }
    index
}

/// Trees whose paths may have any byte but NUL, `/` and the backslash.
fn manifest() -> impl Strategy<Value = Manifest> {
    let name = vec(prop_oneof![3 => b'a'..=b'c', 1 => b'-'..=b'.', 1 => 128..=255u8], 1..3)
        .prop_map(|name| if name.iter().all(|&c| c == b'.') { b"dot".to_vec() } else { name });
    let names = btree_set(vec(name, 1..4), 0..30);
    (names, vec((node(), 0..=0o777u16), 30)).prop_map(|(paths, nodes)| {
        let mut builder = Builder::new();
        builder.directory(b"", 0o755);
        let (mut directories, mut files) = (vec![Vec::new()], Vec::new());
        for (path, (node, mode)) in paths.into_iter().zip(nodes) {
            let (joined, parent) = (path.join(&b'/'), path[..path.len() - 1].join(&b'/'));
            if !directories.contains(&parent) {
                continue;
            }
            match node {
                Node::Directory => {
                    builder.directory(&joined, mode);
                    directories.push(joined);
                }
                Node::File(runs) => files.push(add_file(&mut builder, &joined, mode, &runs)),
                Node::Symlink(target) => drop(builder.symlink(&joined, &target)),
                Node::HardLink(_) if files.is_empty() => {}
                Node::HardLink(to) => drop(builder.hard_link(&joined, files[to.index(files.len())])),
            }
        }
        builder.finish().expect("a tree was fed in path order")
    })
}

/// Manifests with any extents at all, few of which are valid.
fn wild_manifest() -> impl Strategy<Value = Manifest> {
    let extent = prop_oneof![
        (0..4u32, 0..4u32).prop_map(|(first, count)| Extent::Pieces { first, count }),
        (0..4u32, 0..4u32, 0..4u32).prop_map(|(piece, offset, len)| Extent::Part { piece, offset, len }),
        (0..4u64).prop_map(|len| Extent::Hole { len }),
    ];
    (vec((0..8u64, vec(extent, 0..3)), 0..3), vec((0..4u8, 0..4u32), 0..4)).prop_map(|(files, pieces)| {
        let file =
            |(n, (len, extents))| Entry { path: vec![b'a' + n as u8], kind: Kind::File { mode: 0, len, extents } };
        let root = Entry { path: Vec::new(), kind: Kind::Directory { mode: 0 } };
        let pieces = pieces.into_iter().map(|(n, len)| Piece { digest: Digest::of(&[n]), len });
        let entries = std::iter::once(root).chain(files.into_iter().enumerate().map(file)).collect();
        Manifest { entries, pieces: pieces.collect() }
    })
}

proptest! {
    #[test]
    fn releases(value in release(), damage in damage()) { check(&value, &damage)? }

    #[test]
    fn orders(value in order(), damage in damage()) { check(&value, &damage)? }

    #[test]
    fn roots(value in root(), damage in damage()) { check(&value, &damage)? }

    /// Whoever an inner selector selects, the outer one selects as well.
    #[test]
    fn g14_what_lies_within_selects_nobody_else(inner in narrow(), outer in narrow(), labels in few_labels()) {
        if inner.is_within(&outer) && inner.matches(&labels) {
            prop_assert!(outer.matches(&labels), "{inner} is not within {outer}: {labels:?}");
        }
    }

    #[test]
    fn signed_documents(value in signed(), damage in damage()) { check(&value, &damage)? }

    #[test]
    fn facts(value in fact(), damage in damage()) { check(&value, &damage)? }

    #[test]
    fn manifests(value in manifest(), damage in damage()) { check(&ManifestBytes(value), &damage)? }

    #[test]
    fn attribute_lists(value in attributes(), damage in damage()) { check(&value, &damage)? }

    #[test]
    fn small_values(
        content in spec(), labels in labels(), journal in journal(), set in bitmap(),
        (generation, index) in any::<(u64, u64)>(), damage in damage(),
    ) {
        check(&content, &damage)?;
        check(&content.blob, &damage)?;
        check(&labels, &damage)?;
        check(&journal, &damage)?;
        check(&set, &damage)?;
        check(&Position { generation, index }, &damage)?;
    }

    #[test]
    fn a_manifest_is_valid_exactly_when_its_bytes_are(value in wild_manifest()) {
        prop_assert_eq!(Manifest::decode(&value.encode()).is_ok(), value.check().is_ok());
    }

    #[test]
    fn an_outline_can_be_read_of_exactly_the_bytes_that_are_a_manifest(
        value in wild_manifest(), damage in damage(), step in 1..200usize,
    ) {
        let whole = value.encode();
        let mut damaged = whole.clone();
        damage.iter().for_each(|damage| apply(&mut damaged, damage));
        for bytes in [&whole, &damaged] {
            let mut reader = OutlineReader::new();
            let outline = bytes.chunks(step).try_for_each(|part| reader.feed(part)).and_then(|()| reader.finish());
            prop_assert_eq!(outline.is_ok(), Manifest::decode(bytes).is_ok());
        }
    }

    #[test]
    fn f20_random_bytes_do_not_panic(tail in vec(any::<u8>(), 0..300)) {
        canonical::<ContentSpec>(&tail)?;
        canonical::<Labels>(&tail)?;
        canonical::<Bitmap>(&tail)?;
        canonical::<JournalName>(&tail)?;
        for kind in b"AFMORST" {
            let bytes = [b"tdg", &[*kind, 1][..], &tail].concat();
            canonical::<Release>(&bytes)?;
            canonical::<Order>(&bytes)?;
            canonical::<Root>(&bytes)?;
            canonical::<Signed>(&bytes)?;
            canonical::<Fact>(&bytes)?;
            canonical::<Attributes>(&bytes)?;
            canonical::<ManifestBytes>(&bytes)?;
        }
    }
}
