//! How a broker ends and what the next start finds: asked to stop, asked twice, killed while it deletes, out
//! of room.
#![allow(clippy::disallowed_methods, reason = "real processes, files, threads and time")]

#[path = "stop_and_start/commit_log.rs"]
mod commit_log;
#[path = "stop_and_start/deletion.rs"]
mod deletion;
#[path = "stop_and_start/full_disk.rs"]
mod full_disk;
#[path = "stop_and_start/graceful.rs"]
mod graceful;
#[path = "server/process.rs"]
mod process;
#[path = "server/wire.rs"]
mod wire;

/// On both reactors where there are two.
fn on_each_reactor(name: &str, check: fn(process::Server)) {
    let start = |kind: &str| {
        let reactor = format!("reactor={kind}");
        process::Server::start(&format!("{name}-{kind}"), &["--shards", "2", "--set", &reactor])
    };
    let server = start("auto");
    if !server.said().contains("portable") {
        check(start("portable"));
    }
    check(server);
}

#[test]
fn a_stop_answers_what_is_under_way_and_leaves_all_in_order() {
    on_each_reactor("stop", graceful::under_load);
}

#[test]
fn who_waits_for_new_records_does_not_hold_up_a_stop() {
    on_each_reactor("stop-waiting", graceful::with_a_waiting_consumer);
}

#[test]
fn a_second_signal_stops_at_once() {
    on_each_reactor("stop-twice", graceful::twice);
}

#[test]
fn what_a_crash_left_of_a_deleted_topic_is_removed_and_in_nobodys_way() {
    on_each_reactor("deletion-left", deletion::leftovers);
}

#[test]
fn a_topic_deleted_and_made_again_keeps_what_is_acknowledged() {
    on_each_reactor("deletion-again", deletion::made_again);
}

#[test]
fn topics_deleted_before_they_were_opened_leave_nothing() {
    on_each_reactor("deletion-closed", deletion::never_opened);
}

#[test]
fn small_appends_survive_kills_and_leave_no_commit_log_after_a_stop() {
    on_each_reactor("commit-log", commit_log::killed);
}

#[test]
fn kills_during_deletions_leave_nothing_of_them() {
    on_each_reactor("deletion-killed", deletion::killed);
}

#[test]
fn a_full_disk_refuses_produce_alone_and_heals() {
    full_disk::check();
}
