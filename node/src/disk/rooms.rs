//! What connections read into while little comes: rooms of one size, for all of them together.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a room: of the first read, and of a slow peer's.
pub(crate) const ROOM_LEN: usize = 16 * 1024;
/// Rooms that are kept for whoever reads next: more than there are threads that read.
const ROOMS_MAX: usize = 64;

/// Rooms that nobody reads into.
#[derive(Debug, Default)]
pub(crate) struct ReadRooms {
    free: Mutex<Vec<Vec<u8>>>,
}

impl ReadRooms {
    /// A room of [`ROOM_LEN`] bytes, with anything in it.
    pub(crate) fn take(&self) -> Vec<u8> {
        let room = self.lock().pop();
        room.unwrap_or_else(|| vec![0; ROOM_LEN])
    }

    /// Takes one back.
    pub(crate) fn put(&self, room: Vec<u8>) {
        assert_eq!(room.len(), ROOM_LEN, "rooms are of one size");
        let mut free = self.lock();
        if free.len() < ROOMS_MAX {
            free.push(room);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Nothing under this lock leaves it half done.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
