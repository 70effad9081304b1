//! Where payloads that are to be sent come from: lately received ones from memory, all others from the piece source.
//!
//! Only payloads that were verified are put here, so what is served from memory is as good as what is read back. Reading
//! happens on the blocking pool; nothing here waits on a socket.

use super::inbox::Payload;
use content::{ContentId, PieceNo};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{PieceSource, ReadError};
use tokio::time::timeout;

/// How many bytes of lately received payloads are kept, so that forwarding does not read the disk.
const RECENT: usize = 16 << 20;

/// How long the reading of a piece may take when the node stops.
const LAST_READ: Duration = Duration::from_secs(10);

type Key = (ContentId, PieceNo);

/// Payloads by content and piece.
#[derive(Clone)]
pub(crate) struct Shelf {
    source: Arc<dyn PieceSource>,
    recent: Arc<Mutex<Recent>>,
    /// How many bytes of received payloads are kept.
    most: usize,
}

#[derive(Default)]
struct Recent {
    payloads: HashMap<Key, Payload>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Shelf {
    /// An empty memory before a source.
    pub(crate) fn new(source: Arc<dyn PieceSource>) -> Self {
        Self { source, recent: Arc::default(), most: RECENT }
    }

    /// No memory before a source: whatever is sent was read from it.
    pub(crate) fn without_memory(source: Arc<dyn PieceSource>) -> Self {
        Self { source, recent: Arc::default(), most: 0 }
    }

    /// Keeps a payload that was verified and written.
    pub(crate) fn keep(&self, content: ContentId, piece: PieceNo, payload: Payload) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).keep((content, piece), payload, self.most);
    }

    /// Forgets what is kept; it is read from the source again when it is wanted.
    pub(crate) fn forget(&self) {
        *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = Recent::default();
    }

    /// Waits until nobody reads from the source any more, and lets go of it: a store's lock ends with its last reader.
    pub(crate) async fn release(self) {
        let source = self.source;
        let last_reader = async {
            while Arc::strong_count(&source) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(LAST_READ, last_reader).await.is_err() {
            tracing::warn!("a piece is still being read; the store stays locked until that ends");
        }
    }

    /// The verified bytes of a piece.
    pub(crate) async fn get(&self, content: ContentId, piece: PieceNo) -> Result<Payload, ReadError> {
        if let Some(payload) = self.recent(content, piece) {
            return Ok(payload);
        }
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read(content, piece).map(Arc::new)).await;
        read.unwrap_or_else(|failed| Err(ReadError::Disk(format!("reading a piece failed: {failed}"))))
    }

    fn recent(&self, content: ContentId, piece: PieceNo) -> Option<Payload> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.payloads.get(&(content, piece)).cloned()
    }
}

impl Recent {
    fn keep(&mut self, key: Key, payload: Payload, most: usize) {
        self.bytes += payload.len();
        match self.payloads.insert(key, payload) {
            Some(old) => self.bytes -= old.len(),
            None => self.order.push_back(key),
        }
        while self.bytes > most {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.payloads.remove(&oldest).map_or(0, |payload| payload.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    struct Nothing;

    impl PieceSource for Nothing {
        fn read(&self, _content: ContentId, _piece: PieceNo) -> Result<Vec<u8>, ReadError> {
            Err(ReadError::Missing)
        }
    }

    fn content(text: &str) -> ContentId {
        ContentId(Digest::of(text.as_bytes()))
    }

    #[tokio::test]
    async fn the_oldest_go_first_and_memory_is_bounded() {
        let shelf = Shelf::new(Arc::new(Nothing));
        let payload = Arc::new(vec![0; 1 << 20]);
        for n in 0..20 {
            shelf.keep(content("a"), PieceNo(n), payload.clone());
        }
        assert!(shelf.recent.lock().expect("not poisoned").bytes <= RECENT);
        assert_eq!(shelf.get(content("a"), PieceNo(0)).await, Err(ReadError::Missing));
        assert!(shelf.get(content("a"), PieceNo(19)).await.is_ok());
    }

    #[tokio::test]
    async fn without_memory_everything_is_read() {
        let shelf = Shelf::without_memory(Arc::new(Nothing));
        shelf.keep(content("a"), PieceNo(0), Arc::new(vec![1; 8]));
        assert_eq!(shelf.get(content("a"), PieceNo(0)).await, Err(ReadError::Missing));
    }

    #[tokio::test]
    async fn what_is_forgotten_is_read_again() {
        let shelf = Shelf::new(Arc::new(Nothing));
        shelf.keep(content("a"), PieceNo(0), Arc::new(vec![1; 8]));
        shelf.keep(content("a"), PieceNo(0), Arc::new(vec![1; 9]));
        assert_eq!(shelf.recent.lock().expect("not poisoned").bytes, 9);
        assert!(shelf.get(content("a"), PieceNo(0)).await.is_ok());
        shelf.forget();
        assert_eq!(shelf.get(content("a"), PieceNo(0)).await, Err(ReadError::Missing));
    }
}
