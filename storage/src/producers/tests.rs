use super::*;

const DAY_MS: i64 = 86_400_000;

fn batch(epoch: i16, base_sequence: i32, records: i32) -> Batch {
    Batch { producer_id: 7, epoch, base_sequence, last_offset_delta: records - 1, is_transactional: false }
}

fn transactional(producer_id: i64, base_sequence: i32) -> Batch {
    Batch { producer_id, epoch: 0, base_sequence, last_offset_delta: 0, is_transactional: true }
}

fn marker(producer_id: i64, epoch: i16, is_commit: bool) -> Marker {
    Marker { producer_id, epoch, coordinator_epoch: 3, is_commit }
}

/// Applies batches of one record each with the given sequences, from offset 100.
fn producers_with(epoch: i16, sequences: std::ops::Range<i32>) -> Producers {
    let mut producers = Producers::default();
    for sequence in sequences {
        producers.apply(&batch(epoch, sequence, 1), 100 + i64::from(sequence), 1000 + i64::from(sequence));
    }
    producers
}

#[test]
fn unknown_producer_may_start_at_any_sequence() {
    assert_eq!(Producers::default().check(&batch(3, 77, 1)), Check::Append);
}

#[test]
fn id_without_an_epoch_is_refused() {
    assert_eq!(Producers::default().check(&batch(-1, 0, 1)), Check::InvalidEpoch);
}

#[test]
fn retry_within_the_last_five_batches_is_answered_with_where_it_is() {
    let producers = producers_with(0, 0..7);
    for sequence in 2..7 {
        let offset = 100 + i64::from(sequence);
        let expected = Check::Duplicate {
            base_offset: offset,
            last_offset: offset,
            timestamp: 1000 + i64::from(sequence),
        };
        assert_eq!(producers.check(&batch(0, sequence, 1)), expected);
    }
    assert_eq!(producers.check(&batch(0, 1, 1)), Check::OutOfOrder, "older than the window");
    assert_eq!(producers.check(&batch(0, 5, 2)), Check::OutOfOrder, "not the same batch");
}

#[test]
fn gap_is_out_of_order() {
    let producers = producers_with(0, 0..3);
    assert_eq!(producers.check(&batch(0, 3, 10)), Check::Append);
    assert_eq!(producers.check(&batch(0, 4, 1)), Check::OutOfOrder);
}

#[test]
fn newer_epoch_starts_at_zero_and_older_is_refused() {
    let producers = producers_with(4, 0..3);
    assert_eq!(producers.check(&batch(5, 0, 1)), Check::Append);
    assert_eq!(producers.check(&batch(5, 3, 1)), Check::OutOfOrder);
    assert_eq!(producers.check(&batch(3, 0, 1)), Check::InvalidEpoch);
    assert_eq!(producers.check(&batch(3, 2, 1)), Check::InvalidEpoch, "no duplicate of another epoch");
}

#[test]
fn batches_of_an_older_epoch_are_no_duplicates_once_a_newer_one_wrote() {
    let mut producers = producers_with(0, 0..3);
    producers.apply(&batch(1, 0, 1), 200, 2000);
    assert!(matches!(producers.check(&batch(1, 0, 1)), Check::Duplicate { base_offset: 200, .. }));
    assert_eq!(producers.check(&batch(1, 2, 1)), Check::OutOfOrder);
    assert_eq!(producers.get(7).unwrap().batches().len(), 1);
}

#[test]
fn sequence_wraps_around_within_and_between_batches() {
    let mut producers = Producers::default();
    let across = batch(0, i32::MAX - 1, 4);
    assert_eq!(across.last_sequence(), 1);
    producers.apply(&across, 10, 0);
    assert_eq!(producers.check(&across), Check::Duplicate { base_offset: 10, last_offset: 13, timestamp: 0 });
    assert_eq!(producers.check(&batch(0, 2, 1)), Check::Append);

    let mut producers = Producers::default();
    producers.apply(&batch(0, i32::MAX, 1), 10, 0);
    assert_eq!(producers.check(&batch(0, 0, 1)), Check::Append);
    assert_eq!(producers.check(&batch(0, 1, 1)), Check::OutOfOrder);
}

#[test]
fn after_a_marker_that_raised_the_epoch_the_producer_starts_at_zero() {
    let mut producers = Producers::default();
    producers.apply(&transactional(7, 0), 10, 0);
    producers.apply_marker(&marker(7, 1, true), 11, 5);
    let next = Batch { epoch: 1, ..transactional(7, 0) };
    assert_eq!(producers.check(&next), Check::Append);
    assert_eq!(producers.check(&Batch { base_sequence: 1, ..next }), Check::OutOfOrder);
    assert_eq!(producers.get(7).unwrap().coordinator_epoch, 3);
}

#[test]
fn plain_batch_in_an_open_transaction_is_refused() {
    let mut producers = Producers::default();
    producers.apply(&transactional(7, 0), 10, 0);
    assert_eq!(producers.check(&batch(0, 1, 1)), Check::InvalidTransactionState);
    assert_eq!(producers.check(&transactional(7, 1)), Check::Append);
}

#[test]
fn open_transactions_hold_back_readers_of_committed_records() {
    let mut producers = Producers::default();
    assert_eq!(producers.first_unstable_offset(), None);
    producers.apply(&transactional(7, 0), 10, 0);
    producers.apply(&transactional(8, 0), 12, 0);
    producers.apply(&transactional(7, 1), 13, 0);
    assert_eq!(producers.first_unstable_offset(), Some(10));
    let completed = producers.apply_marker(&marker(7, 0, false), 14, 0).expect("it was open");
    assert_eq!((completed.first_offset, completed.last_offset, completed.is_aborted), (10, 14, true));
    assert_eq!(producers.last_stable_offset_after(&completed), 12);
    assert_eq!(producers.first_unstable_offset(), Some(10), "the marker may still be lost");
    producers.replicated_up_to(15);
    assert_eq!(producers.first_unstable_offset(), Some(12));
    assert_eq!(producers.apply_marker(&marker(7, 0, true), 16, 0), None, "nothing was open");
}

#[test]
fn marker_of_a_replaced_coordinator_or_producer_is_refused() {
    let mut producers = Producers::default();
    producers.apply_marker(&marker(7, 4, true), 1, 0);
    assert_eq!(producers.check_marker(&marker(7, 3, true)), CheckMarker::InvalidEpoch);
    let old = Marker { coordinator_epoch: 2, ..marker(7, 4, true) };
    assert_eq!(producers.check_marker(&old), CheckMarker::CoordinatorFenced);
    assert_eq!(producers.check_marker(&marker(7, 4, true)), CheckMarker::Append);
}

#[test]
fn silent_producer_expires_unless_its_transaction_is_open() {
    let mut producers = Producers::default();
    producers.apply(&batch(0, 0, 1), 0, 1000);
    producers.apply(&transactional(8, 0), 1, 1000);
    producers.expire(999 + DAY_MS, DAY_MS);
    assert_eq!(producers.len(), 2);
    producers.expire(1000 + DAY_MS, DAY_MS);
    assert_eq!(producers.iter().map(|(id, _)| id).collect::<Vec<_>>(), [8]);
}

#[test]
fn producers_are_bounded_and_the_longest_silent_go_first() {
    let mut producers = Producers::default();
    producers.apply(&transactional(-5, 0), 0, 0);
    for id in 0..PRODUCERS_MAX as i64 + 10 {
        producers.apply(&Batch { producer_id: id, ..batch(0, 0, 1) }, id + 1, id);
    }
    assert!(producers.len() <= PRODUCERS_MAX);
    assert!(producers.get(-5).is_some(), "its transaction is open");
    assert!(producers.get(0).is_none() && producers.get(PRODUCERS_MAX as i64 + 9).is_some());
}

#[test]
fn snapshot_restores_what_decides() {
    let mut producers = producers_with(2, 0..8);
    producers.apply(&transactional(9, 0), 300, 4000);
    producers.apply_marker(&marker(10, 1, true), 301, 4001);
    let entries = decode_snapshot(&producers.to_snapshot()).expect("what was just written");
    let restored = Producers::from_snapshot(&entries, 5000, DAY_MS);
    assert_eq!(restored.to_snapshot(), producers.to_snapshot());
    assert_eq!(restored.check(&batch(2, 8, 1)), Check::Append);
    assert!(matches!(restored.check(&batch(2, 7, 1)), Check::Duplicate { base_offset: 107, .. }));
    assert_eq!(restored.check(&batch(2, 9, 1)), Check::OutOfOrder);
    assert_eq!(restored.first_unstable_offset(), Some(300));
    assert!(restored.get(10).unwrap().batches().is_empty());
}

#[test]
fn expired_producers_do_not_come_back_from_a_snapshot() {
    let entries = decode_snapshot(&producers_with(0, 0..1).to_snapshot()).unwrap();
    assert!(Producers::from_snapshot(&entries, 1000 + DAY_MS, DAY_MS).is_empty());
}

#[test]
fn damaged_snapshot_is_refused() {
    let bytes = producers_with(0, 0..1).to_snapshot();
    assert_eq!(bytes.len(), 56);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(decode_snapshot(&damaged).is_err(), "byte {at}");
        assert!(decode_snapshot(&bytes[..at]).is_err(), "cut at {at}");
    }
}
