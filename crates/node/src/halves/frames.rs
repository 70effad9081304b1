//! Messages on the socket between the halves: their length, then their bytes, and no more than they may be.

use content::encoding::Encode;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads a message of at most so many bytes; nothing when the other side has closed in order.
pub(super) async fn read<M: Encode>(from: &mut (impl AsyncRead + Unpin), longest: usize) -> io::Result<Option<M>> {
    let mut len = [0; 4];
    match from.read(&mut len[..1]).await? {
        0 => return Ok(None),
        _ => from.read_exact(&mut len[1..]).await?,
    };
    let len = u32::from_le_bytes(len) as usize;
    if len > longest {
        return Err(bad(format!("a message has {len} bytes, and at most {longest} are allowed")));
    }
    // Memory is taken as bytes come.
    let mut bytes = Vec::new();
    (&mut *from).take(len as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    M::decode(&bytes).map(Some).map_err(|malformed| bad(malformed.to_string()))
}

/// Writes a message.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Encode) -> io::Result<()> {
    let bytes = message.encode();
    let len = u32::try_from(bytes.len()).map_err(|_| bad("a message is too long".to_owned()))?;
    to.write_all(&[&len.to_le_bytes()[..], &bytes].concat()).await
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::super::words::{Asked, LONGEST_ASKED};
    use super::*;

    #[tokio::test]
    async fn h14_lengths_are_looked_at_before_memory_is_taken_and_a_message_comes_whole_or_not() {
        let greeting = Asked::Greeting { software: "1".to_owned() };
        let mut bytes = Vec::new();
        write(&mut bytes, &greeting).await.expect("it can be written");
        assert_eq!(read(&mut &bytes[..], LONGEST_ASKED).await.expect("whole"), Some(greeting));
        assert_eq!(read::<Asked>(&mut &[][..], LONGEST_ASKED).await.expect("closed"), None);
        for end in 1..bytes.len() {
            assert!(read::<Asked>(&mut &bytes[..end], LONGEST_ASKED).await.is_err(), "{end} bytes");
        }
        let long = (LONGEST_ASKED as u32 + 1).to_le_bytes();
        let refused = read::<Asked>(&mut &long[..], LONGEST_ASKED).await.expect_err("too long");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
