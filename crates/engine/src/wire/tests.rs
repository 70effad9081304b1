//! Messages to bytes and back, and bytes that no honest peer sends.

use super::*;
use content::fact::{Offer, Position};
use content::{BlobRef, ContentSpec, Labels, OrderId, PayloadKind, Rate, ReleaseId, Signed, UnixTime};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn app() -> impl Strategy<Value = AppName> {
    "[a-z0-9][a-z0-9._-]{0,20}".prop_map(|name| AppName::new(&name).expect("the pattern is the rule"))
}

fn labels() -> impl Strategy<Value = Labels> {
    let label =
        || "[a-z0-9][a-z0-9._-]{0,8}".prop_map(|name| content::Label::new(&name).expect("the pattern is the rule"));
    prop::collection::btree_map(label(), label(), 0..4)
}

fn signed() -> impl Strategy<Value = Signed> {
    (prop::collection::vec(any::<u8>(), 0..200), any::<bool>()).prop_map(|(payload, order)| {
        let kind = if order { PayloadKind::Order } else { PayloadKind::Release };
        content::SigningKey::from_secret(&[7; 32]).sign(kind, payload)
    })
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)], any::<u16>())
        .prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn words() -> impl Strategy<Value = String> {
    "\\PC{0,30}"
}

fn hello() -> impl Strategy<Value = Hello> {
    let floors = prop::collection::vec((app(), any::<u64>()), 0..3);
    (any::<(u16, u16)>(), digest(), words(), words(), labels(), prop::option::of(address()), floors).prop_map(
        |(versions, fleet, software, name, labels, listen, floors)| Hello {
            versions,
            fleet: content::FleetId(fleet),
            software,
            name,
            labels,
            listen,
            floors,
        },
    )
}

fn report() -> impl Strategy<Value = VerifyReport> {
    (digest(), any::<u32>(), any::<u64>(), any::<u32>(), prop::collection::vec(words(), 0..3)).prop_map(
        |(release, entries, bytes, differing, first)| VerifyReport {
            release: ReleaseId(release),
            entries,
            bytes,
            differing,
            first,
        },
    )
}

fn status() -> impl Strategy<Value = AppStatus> {
    use Phase::*;
    let phase = prop::sample::select(vec![Told, Fetching, Complete, Staged, Live, Confirmed, Failed, FellBack]);
    let moment = || prop::option::of(any::<u64>().prop_map(Duration::from_nanos));
    let timeline = (moment(), moment(), moment(), moment(), moment(), moment());
    let ids = (digest(), prop::option::of(digest()), prop::option::of(digest()), prop::option::of(digest()));
    (app(), ids, phase, any::<(u32, u32, u64, u64, u64)>(), timeline, prop::option::of(words())).prop_map(
        |(app, (release, order, live, confirmed), phase, (have, total, from_origin, from_peers, had), at, trouble)| {
            AppStatus {
                app,
                release: ReleaseId(release),
                order: order.map(OrderId),
                phase,
                have,
                total,
                from_origin,
                from_peers,
                had,
                timeline: Timeline {
                    first_byte: at.0,
                    last_byte: at.1,
                    complete: at.2,
                    staged: at.3,
                    live: at.4,
                    confirmed: at.5,
                },
                live: live.map(ReleaseId),
                confirmed: confirmed.map(ReleaseId),
                trouble,
            }
        },
    )
}

fn verdict() -> impl Strategy<Value = Result<Submitted, Refusal>> {
    prop_oneof![
        prop::sample::select(vec![Ok(Submitted::Spreading), Ok(Submitted::Ordered)]),
        (any::<u64>(), words(), words()).prop_map(|(epoch, by, what)| Err(Refusal::Conflict { epoch, by, what })),
        words().prop_map(|why| Err(Refusal::NotBelieved(why))),
        words().prop_map(|why| Err(Refusal::Unknown(why))),
        words().prop_map(|why| Err(Refusal::Invalid(why))),
        words().prop_map(|why| Err(Refusal::NotAllowed(why))),
        words().prop_map(|why| Err(Refusal::Failed(why))),
    ]
}

fn bitmap() -> impl Strategy<Value = Bitmap> {
    (0_u32..500, prop::collection::vec(any::<u32>(), 0..50)).prop_map(|(len, ones)| {
        let mut map = Bitmap::empty(len);
        ones.into_iter().filter(|_| len > 0).for_each(|n| {
            map.insert(PieceNo(n % len));
        });
        map
    })
}

fn pieces() -> impl Strategy<Value = Vec<PieceNo>> {
    prop::collection::vec(any::<u32>().prop_map(PieceNo), 0..40)
}

fn piece() -> impl Strategy<Value = PieceNo> {
    any::<u32>().prop_map(PieceNo)
}

fn content_id() -> impl Strategy<Value = ContentId> {
    digest().prop_map(ContentId)
}

fn offer() -> impl Strategy<Value = Offer> {
    (content_id(), content_id(), digest(), any::<u32>(), any::<u8>()).prop_map(|(base, target, root, len, format)| {
        let patch = ContentSpec { blob: BlobRef { root, len: u64::from(len) }, pieces: 0, bytes: 0 };
        Offer { base, target, patch, format }
    })
}

fn stripe() -> impl Strategy<Value = Stripe> {
    let node = || digest().prop_map(content::NodeId);
    (prop::option::of(node()), prop::collection::vec(node(), 0..3)).prop_map(|(from, to)| Stripe { from, to })
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    prop::option::of(any::<u64>().prop_map(Rate))
}

/// Every message there is. [`every_kind_is_drawn`] fails when one is added and not drawn here.
fn message() -> impl Strategy<Value = Message> {
    let gate = prop::sample::select(vec![Gate::Hold, Gate::Open, Gate::FallBack]);
    let introduction =
        (digest(), address()).prop_map(|(node, address)| Introduction { node: content::NodeId(node), address });
    let outcome = prop_oneof![report().prop_map(Ok), words().prop_map(Err)];
    prop_oneof![
        hello().prop_map(|hello| Message::Hello(Box::new(hello))),
        prop::collection::vec(introduction, 0..5).prop_map(|peers| Message::Introduce { peers }),
        [stripe(), stripe()].prop_map(|stripes| Message::Relay { stripes }),
        (0..=60_000u64).prop_map(|millis| Message::Pace { news: std::time::Duration::from_millis(millis) }),
        (content_id(), 0..STRIPES as u8).prop_map(|(content, stripe)| Message::Lags { content, stripe }),
        signed().prop_map(|release| Message::Announce { release }),
        (signed(), signed()).prop_map(|(release, order)| Message::Pass { release, order }),
        prop::collection::vec(signed(), 0..4).prop_map(|roots| Message::Roots { roots }),
        prop::collection::vec(digest().prop_map(content::NodeId), 0..4).prop_map(|nodes| Message::Revoked { nodes }),
        any::<u64>().prop_map(|root| Message::Follows { root }),
        (signed(), gate).prop_map(|(order, gate)| Message::Command { order, gate }),
        any::<(u64, u64, u64)>().prop_map(|(generation, index, time)| Message::Head {
            position: Position { generation, index },
            time: UnixTime(time)
        }),
        (any::<u64>(), app()).prop_map(|(request, app)| Message::Verify { request, app }),
        (any::<u64>(), app()).prop_map(|(request, app)| Message::Repair { request, app }),
        (any::<u64>(), outcome).prop_map(|(request, outcome)| Message::Verified { request, outcome }),
        status().prop_map(|status| Message::Status(Box::new(status))),
        (rate(), prop::option::of((any::<u64>(), any::<u64>()))).prop_map(|(cap, share)| {
            let share = share.map(|(now, alone)| Share { now: Rate(now), alone: Rate(alone) });
            Message::Limit(Allotment { cap, share })
        }),
        (any::<bool>(), rate()).prop_map(|(is_active, own)| Message::Sends { is_active, own }),
        (signed(), signed()).prop_map(|(release, order)| Message::Submit { release, order }),
        (digest(), verdict()).prop_map(|(order, outcome)| Message::Verdict { order: OrderId(order), outcome }),
        (content_id(), prop::option::of(bitmap()), any::<bool>()).prop_map(|(content, have, wants)| Message::Holding {
            content,
            have,
            wants
        }),
        (content_id(), pieces()).prop_map(|(content, pieces)| Message::Have { content, pieces }),
        (content_id(), pieces()).prop_map(|(content, pieces)| Message::Want { content, pieces }),
        (content_id(), piece()).prop_map(|(content, piece)| Message::Cancel { content, piece }),
        (content_id(), piece()).prop_map(|(content, piece)| Message::Cannot { content, piece }),
        content_id().prop_map(|content| Message::Leave { content }),
        prop::collection::btree_set(any::<u8>(), 0..4).prop_map(|formats| Message::Reads { formats }),
        (content_id(), prop::collection::vec(offer(), 0..4), any::<bool>())
            .prop_map(|(target, offers, is_awaited)| Message::Offers { target, offers, is_awaited }),
        (content_id(), prop::collection::vec((signed(), offer()), 0..4)).prop_map(|(target, steps)| Message::Steps {
            target,
            steps: steps.into_iter().map(|(release, patch)| Step { release, patch }).collect()
        }),
        (
            digest(),
            prop::sample::select(vec![
                Wish::Auto,
                Wish::Patches(Effort::Fast),
                Wish::Patches(Effort::Best),
                Wish::Whole
            ])
        )
            .prop_map(|(order, wish)| Message::Wishes { order: OrderId(order), wish }),
        Just(Message::Ping),
        Just(Message::Pong),
    ]
}

const KINDS: u8 = kind::STEPS;

#[test]
fn every_kind_is_drawn() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let message = message().new_tree(&mut runner).expect("a message").current();
        seen.insert(encode(&message)[LENGTH]);
    }
    assert_eq!(seen, (1..=KINDS).collect());
    let mut to = Encoder::new();
    to.byte(KINDS + 1);
    assert_eq!(decode_body(&to.finish()), Err(WireError::UnknownKind(KINDS + 1)));
}

proptest! {
    #[test]
    fn every_message_comes_back(message in message()) {
        prop_assert_eq!(decode(&encode(&message)), Ok(message));
    }

    #[test]
    fn messages_come_back_in_order_in_parts_of_any_size(
        messages in prop::collection::vec(message(), 1..6),
        parts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
        let (mut frames, mut came, mut at) = (Frames::new(), Vec::new(), 0);
        for part in parts.iter().cycle() {
            let end = (at + part).min(bytes.len());
            frames.push(&bytes[at..end]);
            while let Some(message) = frames.next().expect("whole frames") {
                came.push(message);
            }
            at = end;
            if at == bytes.len() {
                break;
            }
        }
        prop_assert_eq!(came, messages);
        prop_assert_eq!(frames.waiting(), 0);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = decode_body(&bytes) {
            prop_assert_eq!(&encode(&message)[LENGTH..], &bytes[..]);
        }
        let mut frames = Frames::new();
        frames.push(&bytes);
        while let Ok(Some(_)) = frames.next() {}
    }

    #[test]
    fn a_changed_byte_is_another_message_or_an_error(message in message(), at in any::<usize>(), bit in 0_u8..8) {
        let mut frame = encode(&message);
        let at = at % frame.len();
        frame[at] ^= 1_u8 << bit;
        prop_assert_ne!(decode(&frame), Ok(message));
    }

    #[test]
    fn a_bulk_header_comes_back(content in content_id(), piece in piece(), len in 0..=MAX_PAYLOAD as u32) {
        let header = BulkHeader { content, piece, len };
        prop_assert_eq!(BulkHeader::decode(&header.encode()), Ok(header));
    }
}

#[test]
fn b12_a_stream_cut_at_each_byte_gives_whole_messages_only() {
    let messages = [
        Message::Ping,
        Message::Have { content: ContentId(Digest::of(b"a")), pieces: vec![PieceNo(1), PieceNo(1 << 20)] },
        Message::Leave { content: ContentId(Digest::of(b"b")) },
    ];
    let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
    let ends: Vec<usize> = messages
        .iter()
        .scan(0, |end, m| {
            *end += encode(m).len();
            Some(*end)
        })
        .collect();
    for cut in 0..=bytes.len() {
        let mut frames = Frames::new();
        bytes[..cut].iter().for_each(|byte| frames.push(&[*byte]));
        let came: Vec<Message> = std::iter::from_fn(|| frames.next().expect("the start of whole frames")).collect();
        assert_eq!(came, messages[..ends.iter().filter(|end| **end <= cut).count()]);
    }
}

#[test]
fn c3_lengths_are_refused_before_memory_is_taken() {
    let mut frames = Frames::new();
    frames.push(&u32::MAX.to_le_bytes());
    assert_eq!(frames.next(), Err(WireError::TooLong { len: u32::MAX as usize }));
    let mut header = BulkHeader { content: ContentId(Digest::of(b"")), piece: PieceNo(0), len: 0 }.encode();
    header[37..].copy_from_slice(&(MAX_PAYLOAD as u32 + 1).to_le_bytes());
    assert_eq!(BulkHeader::decode(&header), Err(WireError::PayloadTooLong(MAX_PAYLOAD as u32 + 1)));
    let mut list = Encoder::new();
    list.byte(kind::HAVE).value(&ContentId(Digest::of(b""))).number(MAX_LIST as u64);
    assert!(matches!(decode_body(&list.finish()), Err(WireError::Malformed(_))));
}

#[test]
fn words_are_cut_and_not_refused() {
    let refusal = Refusal::Failed("ä".repeat(MAX_TEXT));
    let Ok(Message::Verdict { outcome: Err(Refusal::Failed(came)), .. }) =
        decode(&encode(&Message::Verdict { order: OrderId(Digest::of(b"order")), outcome: Err(refusal) }))
    else {
        panic!("a refusal comes as one")
    };
    assert_eq!(came, "ä".repeat(MAX_TEXT / 2));
}

/// A peer that could name a path, a URL or a command would be a remote control.
#[test]
fn h4_no_message_has_a_field_for_a_path_a_url_or_a_command() {
    let door = include_str!("../door.rs");
    let between = |from: &str| {
        let start = door.find(from).unwrap_or_else(|| panic!("{from} is not declared"));
        &door[start..start + door[start..].find("\n}").expect("it ends")]
    };
    let declared = [
        "pub enum Message",
        "pub struct Hello",
        "pub struct Introduction",
        "pub struct Stripe",
        "pub struct AppStatus",
        "pub struct Timeline",
        "pub struct VerifyReport",
        "pub enum Refusal",
    ];
    for source in declared.map(between) {
        let code = source.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
        for word in
            ["path", "url", "uri", "command:", "cmd", "exec", "script", "shell", "file", "dir", "PathBuf", "OsStr"]
        {
            assert!(!code.to_lowercase().contains(&word.to_lowercase()), "{word} in {code}");
        }
        assert!(!code.contains("Vec<u8>"), "opaque bytes in {code}");
    }
}

/// Whoever says how long something is waits for nobody to take memory for it.
#[test]
fn g6_endless_documents_and_lists_are_refused_by_their_length() {
    let mut frames = Frames::new();
    frames.push(&(MAX_CONTROL as u32 + 1).to_le_bytes());
    assert_eq!(frames.next(), Err(WireError::TooLong { len: MAX_CONTROL + 1 }));
    let of = |sort: u8, count: usize| {
        let mut to = Encoder::new();
        to.byte(sort).count(count);
        decode_body(&to.finish())
    };
    for (sort, most) in
        [(kind::ROOTS, MAX_ROOTS), (kind::REVOKED, MAX_REVOKED), (kind::READS, 256), (kind::HAVE, MAX_LIST)]
    {
        for count in [most + 1, usize::MAX >> 1] {
            assert!(matches!(of(sort, count), Err(WireError::Malformed(_))), "{sort} {count}");
        }
    }
    let payload = vec![0; Signed::MAX_PAYLOAD + 1];
    let endless = Signed { kind: content::PayloadKind::Release, payload, signatures: Vec::new() };
    assert!(decode(&encode(&Message::Announce { release: endless })).is_err());
}

#[test]
fn a_pace_that_would_silence_an_agent_is_refused() {
    let pace = |millis| {
        let mut to = Encoder::new();
        to.byte(kind::PACE).number(millis);
        decode_body(&to.finish())
    };
    assert!(pace(60_000).is_ok());
    assert!([60_001, u64::MAX].into_iter().all(|millis| matches!(pace(millis), Err(WireError::Malformed(_)))));
}
