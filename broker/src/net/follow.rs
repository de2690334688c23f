//! A connection goes to the core that it works for.
//!
//! Work for another core is a message to it, and one back. That costs next to nothing while both are busy, and two wake-ups while
//! they are not: most of what the heartbeat of a group's member costs, or a producer's wait for each acknowledgement. So a
//! connection whose requests come one at a time and each wake the same other core is served there from then on. Busy cores are
//! not woken: among them nothing moves, and connections stay as they were dealt.

use crate::shard::mailbox::Asked;

/// So many requests in a row have to wake the same core. Each move doubles it: a client that works for several cores in turn is
/// soon left in peace.
const IN_A_ROW: u32 = 4;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    enough: u32,
    core: usize,
    in_a_row: u32,
}

impl Follow {
    pub(crate) fn new() -> Self {
        Self { enough: IN_A_ROW, core: 0, in_a_row: 0 }
    }

    /// It came to a core's own listener: that core serves it.
    pub(crate) fn stays() -> Self {
        Self { enough: u32::MAX, ..Self::new() }
    }

    /// A request was handled; `alone`: no other of the connection was under way. The core that should serve the connection, if
    /// that is another one.
    pub(crate) fn after(&mut self, asked: Asked, alone: bool) -> Option<usize> {
        let Asked::Woken(core) = asked else {
            self.in_a_row = 0;
            return None;
        };
        let goes_on = alone && core == self.core;
        self.in_a_row = if goes_on { self.in_a_row.saturating_add(1) } else { u32::from(alone) };
        self.core = core;
        (self.in_a_row >= self.enough && self.enough < u32::MAX).then_some(core)
    }

    /// As it begins where it went.
    pub(crate) fn moved(self) -> Self {
        Self { enough: self.enough.saturating_mul(2), ..Self::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_woken(follow: &mut Follow, cores: &[usize]) -> Vec<Option<usize>> {
        cores.iter().map(|core| follow.after(Asked::Woken(*core), true)).collect()
    }

    #[test]
    fn four_requests_in_a_row_for_one_sleeping_core_move_a_connection_there() {
        let mut follow = Follow::new();
        assert_eq!(after_woken(&mut follow, &[1, 1, 1, 1]), [None, None, None, Some(1)]);
        let mut follow = Follow::new();
        assert_eq!(after_woken(&mut follow, &[0, 0, 0, 0]), [None, None, None, Some(0)]);
    }

    #[test]
    fn what_is_mixed_pipelined_or_pinned_stays() {
        let mut follow = Follow::new();
        for asked in [Asked::Woken(2), Asked::Nobody, Asked::Others] {
            assert_eq!(after_woken(&mut follow, &[1, 1, 1]), [None; 3]);
            assert_eq!(follow.after(asked, true), None);
        }
        for _ in 0..20 {
            assert_eq!(follow.after(Asked::Woken(1), false), None, "another request is under way");
        }
        let mut stays = Follow::stays();
        assert_eq!(after_woken(&mut stays, &[1; 20]), [None; 20]);
    }

    #[test]
    fn each_move_makes_the_next_one_harder() {
        let mut follow = Follow::new().moved();
        assert_eq!(after_woken(&mut follow, &[1; 7]), [None; 7]);
        assert_eq!(after_woken(&mut follow, &[1]), [Some(1)]);
        let often = (0..100).fold(follow, |follow, _| follow.moved());
        assert_eq!(after_woken(&mut often.clone(), &[1; 100]), [None; 100]);
    }
}
