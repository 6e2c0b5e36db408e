//! Room that queues have and do not need: given back as they run empty, because most connections
//! are busy for a while and then never again.

use std::collections::VecDeque;

/// Entries for which an empty queue keeps room: so few that nothing is gained by giving it back,
/// and enough for a queue that runs empty with every entry.
const KEPT: usize = 8;

/// Gives back the room of a queue that has run empty.
pub fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_room_is_given_back_and_little_is_kept() {
        let mut queue: VecDeque<u64> = (0..100).collect();
        let capacity = queue.capacity();
        give_back(&mut queue);
        assert_eq!(queue.capacity(), capacity, "while anything is in it");
        queue.clear();
        give_back(&mut queue);
        assert_eq!(queue.capacity(), 0);
        queue.reserve_exact(KEPT);
        give_back(&mut queue);
        assert_eq!(queue.capacity(), KEPT);
    }
}
