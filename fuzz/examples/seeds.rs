//! Writes the seeds of the corpus: a small valid input or two for every target, from which fuzzing starts.

mod programs;

use std::path::Path;
use tiding_content::attributes::{Attribute, Attributes};
use tiding_content::fact::Offer;
use tiding_content::manifest::Builder;
use tiding_content::order::Wave;
use tiding_content::release::Instructions;
use tiding_content::root::Operator;
use tiding_content::{
    AppName, Bitmap, BlobRef, ContentId, ContentSpec, Digest, Fact, FleetId, Label, Labels, Manifest, NodeId, Order,
    OrderId, PayloadKind, Piece, PieceNo, Release, ReleaseId, Role, Root, Signed, SigningKey, TokenId, UnixTime,
};
use tiding_delta::fuzzing::{body, seed};
use tiding_delta::{Effort, diff};
use tiding_engine::door::{AppStatus, Gate, Hello, Introduction, Message, Phase, Refusal, Step, Submitted, Timeline};
use tiding_engine::wire::{BulkHeader, PROTOCOL, encode};

fn main() {
    let tree = tree();
    write("manifest", "tree", &tree.encode());
    write("manifest", "file", &file().encode());
    write("attributes", "two", &attributes().encode());
    let key = SigningKey::from_secret(&[1; 32]);
    let naming = Root { authorities: vec![b"the old CA".to_vec(), b"the new CA".to_vec()], ..root(&key) };
    let naming = key.sign(PayloadKind::Root, naming.encode());
    let root = key.sign(PayloadKind::Root, root(&key).encode());
    let release = key.sign(PayloadKind::Release, release(&tree).encode());
    let order = key.sign(PayloadKind::Order, order().encode());
    for (name, signed) in [("root", &root), ("root-authorities", &naming), ("release", &release), ("order", &order)] {
        write("signed", name, &signed.encode());
        write("signed", &format!("{name}-payload"), &signed.payload);
    }
    let all: Vec<Vec<u8>> = messages(&release, &order).iter().map(encode).collect();
    write("frames", "all", &all.concat());
    for (n, frame) in all.iter().enumerate() {
        write("frames", &n.to_string(), frame);
    }
    let (content, piece) = (ContentId(Digest::of(b"c")), PieceNo(7));
    write("bulk", "piece", &BulkHeader { content, piece, len: 65_536 }.encode());
    let facts = facts().into_iter().chain([Fact::Rooted { root }]);
    for (n, fact) in facts.enumerate() {
        write("fact", &n.to_string(), &fact.encode());
    }
    let (old, new) = (b"tidings of magpies and of news", b"tidings of news and of magpies, twice");
    let patch = diff(old, new, Effort::Best);
    write("patch", "words", &[&[old.len() as u8], &old[..], &patch].concat());
    write("patch", "empty", &[0]);
    executables();
}

/// Seeds of what reads executables, and of patches between them.
fn executables() {
    for (is_aarch64, name) in [(false, "x86-64"), (true, "aarch64")] {
        let (old, new) = (seed(is_aarch64, 9), seed(is_aarch64, 10));
        let old_len = (old.len() as u16).to_le_bytes();
        let patch = diff(&old, &new, Effort::Best);
        write("executable", name, &[&old_len[..], &old, &new].concat());
        write("decoder", name, &[&old_len[..], &old, &patch].concat());
        let quick = diff(&old, &new, Effort::Fast);
        write("decoder", &format!("{name}-quick"), &[&old_len[..], &old, &quick].concat());
        write("elf", name, &old);
        write("mutated", name, &[is_aarch64.into(), 6, 2, 1, 5, 1, 3, 0, 0, 0, 62, 0, 3, 1, 40, 1, 9]);
    }
    let (lens, longer) = ([14, 17, 21, 15, 30, 16], [14, 17, 29, 15, 30, 20]);
    for (program, name) in [(programs::throwing as fn(&[usize]) -> Vec<u8>, "throwing"), (programs::go, "go")] {
        let (old, new) = (program(&lens), program(&longer));
        let (old_len, new_len) = ((old.len() as u16).to_le_bytes(), (new.len() as u16).to_le_bytes());
        // Right headers are put before it by the target: length, engine, body.
        let body = body(&old, &new).expect("two executables");
        write("decoder", name, &[&old_len[..], &old, &new_len, &[3], &body].concat());
        write("executable", name, &[&old_len[..], &old, &new].concat());
        write("elf", name, &old);
    }
    write("elf", "overlap", &overlapping(seed(false, 9)));
    let text = b"tidings of magpies and of news, ".repeat(20);
    let other = [&text[100..], b"and no more"].concat();
    for (effort, name) in [(Effort::Best, "plain"), (Effort::Fast, "packed")] {
        let patch = diff(&text, &other, effort);
        write("decoder", name, &[&(text.len() as u16).to_le_bytes()[..], &text, &patch].concat());
    }
    // Old is of no help, so zstd is left to it.
    let (old, new) = ([9; 500], b"something else, and on and on ".repeat(40));
    let patch = diff(&old, &new, Effort::Best);
    write("decoder", "prefixed", &[&(old.len() as u16).to_le_bytes()[..], &old, &patch].concat());
    // A call, LEA of what is near, an immediate of the operand's size, a VEX and an EVEX prefix, 3DNow! and XOP, a jump.
    let code = b"\xe8\x01\x02\x03\x04\x48\x8d\x05\x08\0\0\0\x66\xc7\x05\x01\x02\x03\x04\x05\x06\xc5\xf9\x6f\x05\x01\0\0\0\
        \x62\xf1\x7c\x48\x28\x05\x01\0\0\0\x0f\x0f\xc1\x9e\x8f\xe8\x78\xa2\xc1\x20\x49\xb8\x01\x02\x03\x04\x05\x06\x07\x08\x0f\x84\0\x01\0\0";
    write("x86", "forms", code);
    // ADRP, ADD, LDR, B, BL, B.cond, CBZ, TBZ and a literal load, behind the address of the first.
    let words: [u32; 10] = [
        0x1000,
        0x9000_0001,
        0x9104_8021,
        0xf940_0420,
        0x1400_0010,
        0x97ff_fff0,
        0x5400_0041,
        0xb400_0082,
        0x3600_0043,
        0x5800_0064,
    ];
    write("arm64", "forms", &words.map(u32::to_le_bytes).concat());
}

/// An executable whose code is said to be where its exception frames are: one section header has the place of another.
fn overlapping(mut file: Vec<u8>) -> Vec<u8> {
    let headers = u64::from_le_bytes(*file[40..].first_chunk().expect("a header")) as usize;
    let (frames, text) = (headers + 2 * 64, headers + 4 * 64);
    file.copy_within(frames + 16..frames + 40, text + 16);
    file
}

fn messages(release: &Signed, order: &Signed) -> Vec<Message> {
    let content = ContentId(Digest::of(b"c"));
    let address = std::net::SocketAddr::from(([10, 0, 0, 1], 7400));
    let hello = Hello {
        versions: PROTOCOL,
        fleet: fleet(),
        software: "0.1.0".to_owned(),
        name: "web-1".to_owned(),
        labels: labels(),
        listen: Some(address),
        floors: vec![(app(), 3)],
    };
    let mut have = Bitmap::empty(20);
    have.insert(PieceNo(3));
    let id = OrderId(order.payload_digest());
    let (conflict, pieces) = (
        Refusal::Conflict { epoch: 4, by: "alice".to_owned(), what: "epoch 4".to_owned() },
        vec![PieceNo(1), PieceNo(19)],
    );
    vec![
        Message::Hello(Box::new(hello)),
        Message::Introduce { peers: vec![Introduction { node: NodeId(Digest::of(b"n")), address }] },
        Message::Announce { release: release.clone() },
        Message::Command { order: order.clone(), gate: Gate::Open },
        Message::Status(Box::new(status())),
        Message::Submit { release: release.clone(), order: order.clone() },
        Message::Verdict { order: id, outcome: Ok(Submitted::Spreading) },
        Message::Verdict { order: id, outcome: Err(conflict) },
        Message::Holding { content, have: Some(have), wants: true },
        Message::Have { content, pieces: pieces.clone() },
        Message::Want { content, pieces },
        Message::Cannot { content, piece: PieceNo(2) },
        Message::Leave { content },
        Message::Ping,
        steps(release),
    ]
}

fn steps(release: &Signed) -> Message {
    let patch = ContentSpec { blob: BlobRef { root: Digest::of(b"patch"), len: 700 }, pieces: 0, bytes: 0 };
    let (base, target) = (ContentId(Digest::of(b"base")), ContentId(Digest::of(b"c")));
    let patch = Offer { base, target, patch, format: 2 };
    Message::Steps { target, steps: vec![Step { release: release.clone(), patch }] }
}

fn status() -> AppStatus {
    AppStatus {
        app: app(),
        release: ReleaseId(Digest::of(b"new")),
        order: None,
        phase: Phase::Fetching,
        have: 3,
        total: 20,
        from_origin: 65_536,
        from_peers: 131_072,
        had: 0,
        timeline: Timeline { first_byte: Some(std::time::Duration::from_millis(3)), ..Timeline::default() },
        live: None,
        confirmed: None,
        trouble: Some("disk full".to_owned()),
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&directory).expect("the corpus can be written");
    std::fs::write(directory.join(format!("seed-{name}")), bytes).expect("the corpus can be written");
}

fn piece(n: u8, len: u32) -> Piece {
    Piece { digest: Digest::of(&[n]), len }
}

fn tree() -> Manifest {
    let mut builder = Builder::new();
    builder.directory(b"", 0o755);
    let pack = builder.open();
    builder.directory(b"bin", 0o755);
    let large = builder.file(b"bin/large", 0o755);
    builder.piece(piece(1, 70_000));
    builder.hole(131_072);
    builder.piece(piece(2, 50_000));
    builder.hard_link(b"bin/same", large);
    builder.symlink(b"bin/soft", b"../small");
    builder.file(b"small", 0o644);
    builder.part(pack, 0, 10);
    builder.file(b"smaller", 0o600);
    builder.part(pack, 10, 5);
    builder.close(pack, piece(3, 15));
    builder.finish().expect("a tree was fed")
}

fn file() -> Manifest {
    let mut builder = Builder::new();
    builder.file(b"", 0o644);
    builder.piece(piece(1, 40_000));
    builder.finish().expect("a file was fed")
}

fn attributes() -> Attributes {
    Attributes(vec![Attribute { seconds: 1_700_000_000, nanos: 5, uid: 0, gid: 1000 }, Attribute::nearest(-1, 0, 1, 1)])
}

fn app() -> AppName {
    AppName::new("web").expect("a plain name")
}

fn fleet() -> FleetId {
    FleetId(Digest::of(b"fleet"))
}

fn root(key: &SigningKey) -> Root {
    Root {
        version: 1,
        nonce: [7; 16],
        created: UnixTime(1_700_000_000),
        root_keys: vec![key.public()],
        root_threshold: 1,
        operators: vec![Operator { name: "alice".to_owned(), key: key.public(), powers: Default::default() }],
        operator_threshold: 1,
        authorities: Vec::new(),
    }
}

fn release(tree: &Manifest) -> Release {
    let totals = tree.totals();
    let encoded = tree.encode();
    let blob = |bytes: &[u8]| BlobRef { root: Digest::of(bytes), len: bytes.len() as u64 };
    Release {
        fleet: fleet(),
        app: app(),
        version: "1.0".to_owned(),
        created: UnixTime(1_700_000_000),
        content: tree.spec(blob(&encoded)),
        attributes: Some(ContentSpec { blob: blob(&attributes().encode()), pieces: 0, bytes: 0 }),
        entries: totals.entries,
        size: totals.size,
        instructions: Instructions::plain(b"/srv/web", 5000, 3),
    }
}

fn order() -> Order {
    Order {
        fleet: fleet(),
        app: app(),
        epoch: 2,
        release: ReleaseId(Digest::of(b"new")),
        fallback: Some(ReleaseId(Digest::of(b"old"))),
        selector: tiding_content::Selector::of(&labels()),
        restraint: Default::default(),
        unreachable: Default::default(),
        waves: vec![Wave::Count(1), Wave::PerMille(1000)],
        budget: 1,
        created: UnixTime(1_700_000_000),
        message: "tuesday".to_owned(),
    }
}

fn labels() -> Labels {
    let label = |text| Label::new(text).expect("a plain label");
    Labels::from([(label("rack"), label("a1")), (label("zone"), label("x"))])
}

fn facts() -> Vec<Fact> {
    let (token, node, order) = (TokenId(Digest::of(b"t")), NodeId(Digest::of(b"n")), OrderId(Digest::of(b"o")));
    let (role, labels) = (Role::Agent, labels());
    vec![
        Fact::TokenIssued {
            token,
            secret: Digest::of(b"s"),
            uses: 100,
            expires: UnixTime(9),
            role,
            labels: labels.clone(),
        },
        Fact::TokenRevoked { token },
        Fact::Enrolled { node, name: "n1".to_owned(), role, labels, token: Some(token) },
        Fact::Revoked { node },
        Fact::WaveOpened { app: app(), order, wave: 1 },
        Fact::Halted { app: app(), order, why: "too many failed".to_owned() },
        Fact::FellBack { app: app(), order, to: ReleaseId(Digest::of(b"old")) },
        Fact::Finished { app: app(), order },
    ]
}
