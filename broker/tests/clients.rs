//! Clients that others wrote, unchanged, against the real binary: librdkafka and the pure Rust rskafka.
//! What one produces both read back, byte by byte. Once on each reactor.

#[path = "clients/librdkafka.rs"]
mod librdkafka;
#[path = "server/process.rs"]
mod process;
#[path = "clients/pure_rust.rs"]
mod pure_rust;
#[path = "clients/said.rs"]
mod said;
#[path = "server/wire.rs"]
mod wire;

use std::thread;

use process::Server;

#[test]
fn clients_on_the_portable_reactor() {
    check(Server::start("clients-portable", &["--shards", "2", "--set", "reactor=portable"]));
}

#[test]
fn clients_on_the_reactor_of_this_machine() {
    let server = Server::start("clients-auto", &["--shards", "2"]);
    if server.said().contains("portable") {
        println!("skipped: the portable reactor is all there is on this machine, and it has its own test");
        return;
    }
    check(server);
}

fn check(mut server: Server) {
    let bootstrap = &server.bootstrap();
    // Side by side, for clients spend most of their time waiting.
    let checks: [fn(&str); 6] = [
        librdkafka::offsets_by_place_and_time,
        librdkafka::large_records_pass,
        librdkafka::many_partitions_fill_evenly,
        librdkafka::deleted_topics_are_gone,
        pure_rust::what_is_produced_is_consumed_by_both,
        pure_rust::records_are_deleted_up_to_an_offset,
    ];
    thread::scope(|scope| {
        for check in checks {
            scope.spawn(move || check(bootstrap));
        }
        for codec in said::CODECS {
            librdkafka::what_is_produced_is_consumed(bootstrap, codec);
        }
    });
    survives_a_stop(&mut server);
}

/// An orderly stop keeps everything, and topics too.
fn survives_a_stop(server: &mut Server) {
    let bootstrap = server.bootstrap();
    librdkafka::create(&bootstrap, "stopped", 3, &[]);
    let all = said::varied(3, 50);
    librdkafka::produce(&bootstrap, "stopped", "lz4", &all);
    let status = server.stop();
    assert!(status.success(), "an asked-for stop is no failure: {status}");
    server.start_again();
    said::assert_same(&librdkafka::consume(&bootstrap, "stopped", &all), &all);
}
