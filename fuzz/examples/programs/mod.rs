//! Small programs with the tables that C++ and Go write, which the samples of the crate lack. Addresses are offsets in the file.

/// A section: name, type, flags and bytes.
type Section = (&'static str, u32, u64, Vec<u8>);

const DATA: u64 = 2;
const CODE: u64 = 6;
const HEADERS: usize = 64 + 56;
/// How far apart sections begin, so that each can name the next before its bytes are known.
const APART: usize = 0x200;

/// Where the section with a number begins.
fn place(number: usize) -> usize {
    HEADERS.next_multiple_of(APART) + number * APART
}

/// Functions of these lengths that call each other, each with a table of where its calls land when they throw.
pub fn throwing(lens: &[usize]) -> Vec<u8> {
    let (code, starts) = functions(lens, place(0));
    let (frames, tables) = (place(1), place(2));
    let mut frame =
        [&[20u8, 0, 0, 0, 0, 0, 0, 0, 1][..], b"zLR\0", &[1, 0x78, 16, 2, 0x1b, 0x1b, 12, 7, 8, 0, 0]].concat();
    let mut table = Vec::new();
    for (start, len) in starts.iter().zip(lens) {
        let at = frames + frame.len();
        let lands = len - 2;
        let words = [20, at + 4 - frames, start.wrapping_sub(at + 8), *len];
        frame.extend(words.iter().flat_map(|word| (*word as u32).to_le_bytes()));
        frame.push(4);
        frame.extend(((tables + table.len()).wrapping_sub(at + 17) as u32).to_le_bytes());
        frame.extend([0; 3]);
        // No base of landing pads, no types, LEB128: two calls, and what is behind them.
        table.extend([0xff, 0xff, 1, 12, 0, 5, lands as u8, 0, 5, 4, lands as u8, 1, 9, 2, 0, 0]);
    }
    frame.extend([0; 4]);
    file(vec![(".text", 1, CODE, code), (".eh_frame", 1, DATA, frame), (".gcc_except_table", 1, DATA, table)])
}

/// Functions of these lengths with Go's table of functions, its links to types and the description of its module.
pub fn go(lens: &[usize]) -> Vec<u8> {
    let (code, starts) = functions(lens, place(0));
    let table = place(1);
    let (count, rows) = (lens.len(), 0x50);
    let names = 0x48;
    let mut text = [0xffff_fff1u32.to_le_bytes(), [0, 0, 1, 8]].concat();
    text.extend(words(&[count, 1, place(0), names, names, names, names, rows]));
    text.resize(rows, 1);
    let records = 8 * (count + 1);
    for (number, start) in starts.iter().enumerate() {
        text.extend([start - place(0), records + 52 * number].iter().flat_map(|word| (*word as u32).to_le_bytes()));
    }
    text.extend([(code.len() as u32).to_le_bytes(), [0; 4]].concat());
    for (number, start) in starts.iter().enumerate() {
        // Entry, name, arguments, deferred, three tables, one value, its unit, its line, one datum; then value and datum.
        let record = [start - place(0), number, 8, 0, 1, 2, 3, 1, number, 7];
        text.extend(record.iter().flat_map(|word| (*word as u32).to_le_bytes()));
        text.extend([0, 0, 0, 1, 4, 0, 0, 0, 8 * number as u8, 0, 0, 0]);
    }
    let mut described = vec![0; 40];
    (described[0], described[1], described[39]) = (table, table + names, place(2));
    let links = (0..count).flat_map(|number| (8 * number as u32).to_le_bytes()).collect();
    file(vec![
        (".text", 1, CODE, code),
        (".gopclntab", 1, DATA, text),
        (".rodata", 1, DATA, words(&starts)),
        (".typelink", 1, DATA, links),
        (".go.module", 1, 3, words(&described)),
    ])
}

/// A call of another function, no-ops, and a return; and where each begins.
fn functions(lens: &[usize], at: usize) -> (Vec<u8>, Vec<usize>) {
    let starts: Vec<usize> = lens.iter().scan(at, |at, len| Some(std::mem::replace(at, *at + len))).collect();
    let mut code = Vec::new();
    for (number, len) in lens.iter().enumerate() {
        let called = starts[(number * 3 + 1) % starts.len()];
        code.push(0xe8);
        code.extend((called.wrapping_sub(starts[number] + 5) as u32).to_le_bytes());
        code.extend(vec![0x90; len - 6]);
        code.push(0xc3);
    }
    (code, starts)
}

fn words(numbers: &[usize]) -> Vec<u8> {
    numbers.iter().flat_map(|number| (*number as u64).to_le_bytes()).collect()
}

/// An ELF file for x86-64 of these sections.
fn file(mut sections: Vec<Section>) -> Vec<u8> {
    let names: Vec<u8> =
        sections.iter().map(|section| section.0).chain([".shstrtab"]).collect::<Vec<_>>().join("\0").into();
    let mut file = vec![0; place(sections.len())];
    let strings = sections.len();
    sections.push((".shstrtab", 3, 0, [&b"\0"[..], &names, b"\0"].concat()));
    let mut headers = vec![0; 64];
    let mut name = 1u32;
    for (number, (title, kind, flags, bytes)) in sections.iter().enumerate() {
        assert!(number == strings || bytes.len() <= APART, "{title} is {} bytes", bytes.len());
        let at = place(number);
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..][..bytes.len()].copy_from_slice(bytes);
        headers.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
        headers.extend(words(&[*flags as usize, if *flags == 0 { 0 } else { at }, at, bytes.len(), 0, 8, 0]));
        name += title.len() as u32 + 1;
    }
    let (end, count) = (file.len(), sections.len() as u16 + 1);
    file.extend(headers);
    file[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0");
    file[32..48].copy_from_slice(&words(&[64, end]));
    for (at, field) in [(52, 64u16), (54, 56), (56, 1), (58, 64), (60, count), (62, count - 1)] {
        file[at..][..2].copy_from_slice(&field.to_le_bytes());
    }
    file[64..HEADERS].copy_from_slice(&words(&[1 | 7 << 32, 0, 0, 0, end, end, 4096]));
    file
}
