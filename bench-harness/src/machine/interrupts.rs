//! Who interrupts whom: a CPU that answers a disk's interrupts has less time for a broker.

use super::{Interrupt, Root};

const SHOWN: usize = 8;
/// Fewer since the start are no load.
const COUNT_MIN: u64 = 1000;

/// The busiest that belong to devices; what CPUs send each other has no number.
pub(super) fn busiest(root: &Root) -> Vec<Interrupt> {
    let Some(text) = root.text("proc/interrupts") else { return Vec::new() };
    let mut lines = text.lines();
    let cpus = lines.next().map_or(0, |line| line.split_whitespace().count());
    let mut all: Vec<Interrupt> = lines.filter_map(|line| read(line, cpus)).collect();
    all.retain(|it| it.count >= COUNT_MIN);
    all.sort_by_key(|it| (std::cmp::Reverse(it.count), it.number));
    all.truncate(SHOWN);
    for interrupt in &mut all {
        let folder = format!("proc/irq/{}", interrupt.number);
        let cpus = root.text(&format!("{folder}/effective_affinity_list"));
        interrupt.cpus =
            cpus.or_else(|| root.text(&format!("{folder}/smp_affinity_list"))).unwrap_or_default();
    }
    all
}

fn read(line: &str, cpus: usize) -> Option<Interrupt> {
    let (number, rest) = line.split_once(':')?;
    let number = number.trim().parse().ok()?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let counts = words.iter().take(cpus).map_while(|it| it.parse::<u64>().ok());
    let name = words.last().filter(|it| it.parse::<u64>().is_err())?;
    Some(Interrupt { number, name: (*name).to_owned(), count: counts.sum(), cpus: String::new() })
}
