//! The connections a core serves, and (on core 0) how many each core was dealt.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use reactor::Conn;

use super::reads::LeftWaiting;

/// One client's connection.
pub(crate) struct Connection {
    pub(crate) conn: Rc<dyn Conn>,
    pub(crate) caller: Caller,
    /// When bytes last went either way.
    pub(crate) active_ns: Cell<u64>,
    /// Requests read whose answers are not written yet.
    pub(crate) under_way: Cell<usize>,
}

/// Who asks, and through which listener.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    /// The listener it came by; brokers are told with their address on the same one.
    pub(crate) listener: Arc<str>,
    /// Of its last fetch.
    pub(crate) left_waiting: Rc<LeftWaiting>,
}

/// Those of this core.
#[derive(Default)]
pub(crate) struct Connections {
    next: Cell<u64>,
    open: RefCell<BTreeMap<u64, Rc<Connection>>>,
}

impl Connections {
    pub(crate) fn add(&self, connection: Rc<Connection>) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        self.open.borrow_mut().insert(number, connection);
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        self.open.borrow_mut().remove(&number);
    }

    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Closes those on which nothing moved since `before_ns`.
    pub(crate) fn close_idle(&self, before_ns: u64) -> usize {
        let open = self.open.borrow();
        let idle = open.values().filter(|connection| connection.active_ns.get() < before_ns);
        idle.map(|connection| connection.conn.close()).count()
    }

    /// Closes those that are open among these.
    pub(crate) fn close(&self, numbers: &[u64]) {
        let open = self.open.borrow();
        numbers.iter().filter_map(|number| open.get(number)).for_each(|connection| connection.conn.close());
    }

    /// What fetches left waiting and nobody came back for.
    pub(crate) fn forget_left_waiting(&self, now_ns: u64) {
        self.open.borrow().values().for_each(|connection| connection.caller.left_waiting.forget_old(now_ns));
    }

    /// What fetches left waiting may have been read before something was deleted.
    pub(crate) fn forget_all_left_waiting(&self) {
        self.open.borrow().values().for_each(|connection| connection.caller.left_waiting.forget());
    }

    /// Some request is not answered yet.
    pub(crate) fn are_busy(&self) -> bool {
        self.open.borrow().values().any(|connection| connection.under_way.get() > 0)
    }

    pub(crate) fn close_all(&self) {
        self.open.borrow().values().for_each(|connection| connection.conn.close());
    }
}

/// Connections by core and by address. Only core 0 deals, so only its copy counts.
#[derive(Default)]
pub(crate) struct Dealt {
    by_core: Vec<usize>,
    by_address: HashMap<IpAddr, usize>,
    total: usize,
}

impl Dealt {
    pub(crate) fn new(cores: usize) -> Self {
        Self { by_core: vec![0; cores], ..Self::default() }
    }

    /// The core that is to serve a connection: the one it came to, if that has a listener of its own, else the
    /// least-loaded. None if a limit is reached.
    pub(crate) fn deal(
        &mut self,
        from: IpAddr,
        came_to: Option<usize>,
        connections_max: usize,
        per_ip_max: usize,
    ) -> Option<usize> {
        let mine = self.by_address.get(&from).copied().unwrap_or(0);
        if self.total >= connections_max || mine >= per_ip_max {
            return None;
        }
        let least_loaded = || (0..self.by_core.len()).min_by_key(|core| self.by_core[*core]);
        let core = came_to.or_else(least_loaded)?;
        self.by_core[core] += 1;
        self.total += 1;
        self.by_address.insert(from, mine + 1);
        Some(core)
    }

    pub(crate) fn moved(&mut self, from: usize, to: usize) {
        self.by_core[from] -= 1;
        self.by_core[to] += 1;
    }

    pub(crate) fn ended(&mut self, core: usize, from: IpAddr) {
        self.by_core[core] -= 1;
        self.total -= 1;
        if let Some(count) = self.by_address.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_dealt_evenly_and_limits_hold() {
        let mut dealt = Dealt::new(2);
        let a: IpAddr = "10.0.0.1".parse().unwrap();
        let b: IpAddr = "10.0.0.2".parse().unwrap();
        assert_eq!(dealt.deal(a, None, 3, 2), Some(0));
        assert_eq!(dealt.deal(a, None, 3, 2), Some(1));
        assert_eq!(dealt.deal(a, None, 3, 2), None, "per address");
        assert_eq!(dealt.deal(b, None, 3, 2), Some(0));
        assert_eq!(dealt.deal(b, None, 3, 2), None, "in all");
        dealt.ended(1, a);
        assert_eq!(dealt.deal(b, None, 3, 2), Some(1));
    }

    #[test]
    fn a_connection_that_moved_counts_where_it_is() {
        let mut dealt = Dealt::new(2);
        let a: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!([(); 2].map(|()| dealt.deal(a, None, 9, 9)), [Some(0), Some(1)]);
        dealt.moved(0, 1);
        assert_eq!([(); 2].map(|()| dealt.deal(a, None, 9, 9)), [Some(0); 2], "core 1 has two");
        dealt.ended(1, a);
        assert_eq!(dealt.deal(a, None, 9, 9), Some(1));
    }

    #[test]
    fn a_cores_own_connections_count_and_the_others_make_up_for_them() {
        let mut dealt = Dealt::new(2);
        let a: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!([(); 2].map(|()| dealt.deal(a, Some(0), 9, 5)), [Some(0); 2]);
        assert_eq!([(); 3].map(|()| dealt.deal(a, None, 9, 5)), [Some(1), Some(1), Some(0)]);
        assert_eq!(dealt.deal(a, Some(1), 9, 5), None, "per address");
    }
}
